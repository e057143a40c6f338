"""Limits of the label rules, each with meaning, source and range."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from attnviz.errors import InputError
from attnviz.findings import Label

__all__ = ["THRESHOLDS", "Limit", "Thresholds"]

CHOSEN = "chosen here"
CLARK = "Clark et al. 2019"
GU = "Gu et al. 2024"


@dataclass(frozen=True)
class Limit:
    """Description of one threshold.

    Attributes:
        name: the field of `Thresholds`.
        label: for a slider.
        meaning: one sentence: what happens above or below.
        source: a paper, or "chosen here" and why.
        of: which label it decides; None for what ablation decides.
        unit: "nats", or "" for a share.
        lowest: end of a sensible range.
        highest: end of a sensible range.
        default: where it stands.
    """

    name: str
    label: str
    meaning: str
    source: str
    of: Label | None
    unit: str
    lowest: float
    highest: float
    default: float


def _limit(
    default: float,
    label: str,
    meaning: str,
    source: str,
    of: Label | None,
    between: tuple[float, float],
    unit: str = "",
) -> Any:
    known = {"label": label, "meaning": meaning, "source": source, "of": of, "unit": unit}
    return field(default=default, metadata=known | {"between": between})


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Limits of all rules.

    Every field is a number; `THRESHOLDS` says of each what it means and where it comes from.

    Raises:
        InputError: a value that is no number, or outside the range where the rule makes sense.
    """

    dead_output: float = _limit(
        0.001,
        "Dead below",
        "A head whose output is shorter than this share of the vectors it is added to is dead.",
        f"{CHOSEN}: a tenth of a percent; the quietest heads of the classroom models add five "
        "percent, those of an untrained BERT 0.2",
        "dead",
        (0.0, 0.05),
    )
    uniform_entropy: float = _limit(
        0.95,
        "Uniform above",
        "A head is uniform when nine rows in ten have a normalized entropy above this.",
        f"{CHOSEN}, the value at which attnviz says that a head spreads almost evenly",
        "uniform",
        (0.8, 1.0),
    )
    uniform_dependence: float = _limit(
        0.1,
        "Uniform only below",
        "A uniform head may depend on the text by no more than this.",
        f"{CHOSEN}: twice the limit for positional heads, because the rest of an even row is free",
        "uniform",
        (0.0, 0.5),
        "nats",
    )
    peaked_entropy: float = _limit(
        0.05,
        "Peaked below",
        "A head is peaked when its normalized entropy is below this, it depends on the text by "
        "less than the next limit, and it follows no known pattern.",
        f"{CHOSEN}, the mirror of the limit for uniform heads",
        "peaked",
        (0.0, 0.3),
    )
    peaked_dependence: float = _limit(
        0.3,
        "Peaked only below",
        "A peaked head may depend on the text by no more than this: one that picks a single key by "
        "what the text says is doing something.",
        f"{CHOSEN}: the sharpest heads of the classroom T5 choose by the text, with 0.8 nats and "
        "more",
        "peaked",
        (0.0, 1.5),
        "nats",
    )
    collapsed_entropy: float = _limit(
        0.01,
        "Collapsed below",
        "Below this normalized entropy a head without a known pattern is peaked even when the text "
        "decides which key it is: nothing but its favourite is ever read.",
        f"{CHOSEN}; Zhai et al. 2023 describe collapse of entropy. The sharpest head of the "
        "classroom T5 has 0.23",
        "peaked",
        (0.0, 0.1),
    )
    favourite: float = _limit(
        0.5,
        "Favourite above",
        "A peaked head is named after the token itself or after one key that gets more than this "
        "share of its weight; with more on a resting place it is a sink and not peaked.",
        f"{CHOSEN}: more than on all other keys together",
        "peaked",
        (0.3, 0.95),
    )
    redundant_distance: float = _limit(
        0.05,
        "Redundant below",
        "Two heads look at the same keys when their Jensen-Shannon divergence is below this.",
        f"{CHOSEN}: 7% of the largest possible; induction heads of one layer come as near as 0.045 "
        "and differ in what they write",
        "redundant",
        (0.0, 0.3),
        "nats",
    )
    redundant_cosine: float = _limit(
        0.9,
        "Redundant only above",
        "Two heads that look at the same keys are redundant when the vectors they add have a "
        "cosine above this.",
        f"{CHOSEN}: copies have 1; the most parallel two heads of the classroom models 0.53",
        "redundant",
        (0.3, 1.0),
    )
    sink_mass: float = _limit(
        0.3,
        "Sink above",
        "A head has a sink when the first token and the separators, or one other token or "
        "position, get more than this share of its weight.",
        f"{GU} for the first token alone",
        "sink",
        (0.1, 0.9),
    )
    sink_value: float = _limit(
        0.3,
        "Resting below",
        "A sink head counts as resting when less than this share of its output comes from the "
        "sink.",
        f"{CHOSEN}; that weight and effect differ is from Kobayashi et al. 2020",
        "sink",
        (0.0, 1.0),
    )
    sink_elsewhere: float = _limit(
        0.1,
        "Nothing else below",
        "A head does nothing but rest when fewer than this share of its rows look elsewhere.",
        f"{CHOSEN}: one row in ten",
        "sink",
        (0.0, 0.5),
    )
    previous_token: float = _limit(
        0.5,
        "Previous token above",
        "Minimum weight on the token before for a previous-token head.",
        CLARK,
        "specialised",
        (0.2, 0.95),
    )
    next_token: float = _limit(
        0.5,
        "Next token above",
        "Minimum weight on the token after for a next-token head.",
        CLARK,
        "specialised",
        (0.2, 0.95),
    )
    offset: float = _limit(
        0.5,
        "Fixed distance above",
        "Minimum weight on the token at one fixed distance, 2 to 8 tokens before or after, for "
        "this label.",
        f"{CHOSEN}: the limit for previous and next token",
        "specialised",
        (0.2, 0.95),
    )
    duplicate: float = _limit(
        0.4,
        "Duplicate above",
        "Minimum weight on copies of the token for a duplicate-token head, among repeated "
        "random tokens or between two sentences with the same words.",
        f"{CHOSEN}; the pattern is from Wang et al. 2022",
        "specialised",
        (0.2, 0.95),
    )
    induction: float = _limit(
        0.4,
        "Induction above",
        "Minimum weight on what followed the earlier copy for an induction head, among repeated "
        "random tokens.",
        f"{CHOSEN}; the pattern and the experiment are from Olsson et al. 2022",
        "specialised",
        (0.2, 0.95),
    )
    special_token: float = _limit(
        0.6,
        "First token or separator above",
        "Minimum weight on the first token or the separators for this label.",
        CLARK,
        "specialised",
        (0.3, 0.95),
    )
    alignment: float = _limit(
        0.4,
        "Alignment above",
        "Minimum weight on the source token that the prediction depends on for an aligning "
        "cross-attention head.",
        f"{CHOSEN}: on the classroom T5 it divides the first layer's heads (0.22 and less) from "
        "those that align half of the hand-aligned words or more (0.38 to 0.59)",
        "specialised",
        (0.2, 0.95),
    )
    positional_dependence: float = _limit(
        0.05,
        "Positional below",
        "A head whose rows depend on the text by less than this looks at the same places whatever "
        "the text says.",
        f"{CHOSEN}: previous- and next-token heads of the classroom models have 0.00 to 0.06, most "
        "heads 0.3 and more",
        "positional",
        (0.0, 0.5),
        "nats",
    )
    tolerance: float = _limit(
        0.01,
        "Costs nothing below",
        "A change of the loss per token smaller than this is about nothing.",
        f"{CHOSEN}: one percent of perplexity",
        None,
        (0.0, 0.1),
        "nats",
    )

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            low, high = _allowed(one.metadata["unit"])
            good = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not good or not low <= value <= high:
                raise InputError(
                    f"the threshold '{one.name}' ({one.metadata['label'].lower()}) should be a "
                    f"number from {low:g} to {high:g}, not {value!r}"
                )
            object.__setattr__(self, one.name, float(value))

    def as_dict(self) -> dict[str, float]:
        """Return names and values."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the thresholds as JSON; `from_json` reads them."""
        return json.dumps(asdict(self), indent=2, allow_nan=False)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Thresholds:
        """Return thresholds from names and values; missing names keep their defaults.

        Raises:
            InputError: a name that is no threshold, or a value that makes no sense.
        """
        known = {one.name for one in fields(cls)}
        unknown = sorted(set(map(str, given)) - known)
        if unknown:
            raise InputError(
                f"there is no threshold '{unknown[0]}'; there are {', '.join(sorted(known))}"
            )
        return cls(**given)

    @classmethod
    def from_json(cls, written: str) -> Thresholds:
        """Return thresholds from the text that `to_json` returns.

        Raises:
            InputError: no JSON object, or as `from_dict`.
        """
        try:
            given = json.loads(written)
        except ValueError as error:
            raise InputError(f"the thresholds are no JSON: {error}") from error
        if not isinstance(given, dict):
            raise InputError("the thresholds should be a JSON object of names and numbers")
        return cls.from_dict(given)


def _allowed(unit: str) -> tuple[float, float]:
    """Return the lowest and highest value that a threshold of this unit can have."""
    return (0.0, 10.0) if unit == "nats" else (0.0, 1.0)


THRESHOLDS: Mapping[str, Limit] = {
    one.name: Limit(
        name=one.name,
        label=one.metadata["label"],
        meaning=one.metadata["meaning"],
        source=one.metadata["source"],
        of=one.metadata["of"],
        unit=one.metadata["unit"],
        lowest=one.metadata["between"][0],
        highest=one.metadata["between"][1],
        default=float(getattr(Thresholds, one.name)),
    )
    for one in fields(Thresholds)
}
"""Of every threshold: label, meaning, source and range, in the order of the labels."""
