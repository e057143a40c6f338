"""What the doctor says of a head, in sentences for a person."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from attnviz.findings import Evidence, Finding, Interval

__all__ = ["Effect", "Names", "costs", "effect", "sentences"]

Effect = Literal["costs", "little", "nothing", "helps", "open"]
"""What removing a head does to the loss: it rises by more than the tolerance, it rises, it stays,
it falls, or nobody can say."""


@dataclass(frozen=True)
class Names:
    """What a model's special places are called.

    Attributes:
        first: the first token.
        separator: the special tokens behind it.
    """

    first: str = "first token"
    separator: str = "separators"


def effect(change: Interval | None, tolerance: float) -> Effect | None:
    """What a change of the loss per token says: its whole interval has to.

    "nothing" is an interval within the tolerance on both sides, "little" one above 0 that is
    neither within it nor beyond it. "open" where the interval holds 0 and more than the tolerance,
    or where there is none because there is one text only. None where nothing was measured.
    """
    if change is None or math.isnan(change.mean):
        return None
    if math.isnan(change.low):
        return "open"
    if change.low > tolerance:
        return "costs"
    if change.high < tolerance and change.low > -tolerance:
        return "nothing"
    if change.low > 0:
        return "little"
    return "helps" if change.high < 0 else "open"


def costs(change: Interval | None, tolerance: float) -> bool | None:
    """Whether a replacement costs something; None where that is open or was not measured."""
    found = effect(change, tolerance)
    return None if found in (None, "open") else found in ("costs", "little")


def sentences(
    finding: Finding,
    values: Mapping[str, Interval],
    what: Effect | None,
    both: Interval | None,
    tolerance: float,
    names: Names,
) -> tuple[str, ...]:
    """A finding in words, most important first."""
    seen = list(_seen(finding, values, what, names))
    tested = list(_tested(finding, what, both, tolerance))
    if finding.verdict == "contradicted":
        change = finding.ablation.get("zero", finding.ablation.get("mean"))
        assert change is not None  # noqa: S101 - or there would be no verdict
        said = f"It looks {finding.label}, but removing it costs {_nats(change)}"
        return (f"{said}: the model needs it.", *seen, *tested[1:], *_rest(finding))
    return (*seen, *tested, *_rest(finding))


def _seen(
    finding: Finding, values: Mapping[str, Interval], what: Effect | None, names: Names
) -> Iterator[str]:
    """What its measures show."""

    def share(name: str) -> str:
        return _number(values[name].mean)

    label = finding.label
    if label == "non-finite":
        number = values["not_finite"]
        count = round(number.mean * number.texts)
        yield (
            f"It computes NaN or infinity on {count} of {number.texts} texts: what it looks at and "
            "what it adds are not defined there."
        )
    elif label == "dead":
        yield (
            "What it adds is next to nothing: vectors "
            f"{share('output_share')} times as long as those it adds them to."
        )
    elif label == "uniform":
        yield (
            "It spreads its weight almost evenly over everything it can see: in nine rows of ten "
            f"above {share('lowest_entropy')} of the largest possible entropy."
        )
    elif label == "peaked":
        where = {
            "own token": "the token itself",
            "same key": "one and the same key",
            "": "a single key",
        }[finding.detail]
        yield (
            f"It puts nearly all of its weight on {where} "
            f"(entropy {share('normalized_entropy')} of the largest possible), and follows no "
            "pattern that is known to be useful."
        )
    elif label == "redundant" and finding.partner is not None:
        apart, parallel = finding.evidence
        yield (
            f"It does what {finding.partner.label} does: it looks at the same keys (their weights "
            f"are {_number(apart.value.mean)} nats apart, of 0.69 at most) and adds vectors in the "
            f"same direction (cosine {_number(parallel.value.mean)})."
        )
    elif label == "sink":
        yield from _seen_sink(finding, values, what, names)
    elif label == "specialised":
        yield _pattern(finding.detail, finding.evidence[0])
    elif label == "positional":
        yield (
            "It looks at the same places whatever the text says: knowing the text tells "
            f"{share('content_dependence')} nats about where it looks, where 0 is nothing at all."
        )
    elif math.isnan(values["content_dependence"].mean):
        yield "It fits none of the other descriptions."
    else:
        yield (
            "It looks at different keys for different texts: knowing the text tells "
            f"{share('content_dependence')} nats about where it looks, where 0 is nothing at all."
        )


def _place(values: Mapping[str, Interval], names: Names) -> str:
    """Where a head rests: the places that have at least a fifth of that weight."""
    first, separators = values["sink_first"].mean, values["separators"].mean
    if math.isnan(separators) or separators < (first + separators) / 5:
        return _the(names.first)
    if first < (first + separators) / 5:
        return _the(names.separator)
    return f"{_the(names.first)} and {_the(names.separator)}"


def _seen_sink(
    finding: Finding, values: Mapping[str, Interval], what: Effect | None, names: Names
) -> Iterator[str]:
    mass, value, elsewhere = finding.evidence
    yield f"It pours {_number(mass.value.mean)} of its weight into {_place(values, names)}."
    if not math.isnan(value.value.mean):
        much = "only " if value.value.mean < mass.value.mean / 2 else ""
        yield (
            f"Of what it moves, {much}{_number(value.value.mean)} comes from there; it looks "
            f"mostly elsewhere in {_percent(elsewhere.value.mean)} of its rows."
        )
    meaning = {
        "resting": "It rests there when it has nothing to add, which does no harm.",
        "working": "It is needed all the same: this sink is at work.",
        "broken": "It does nothing else, and nothing is lost without it.",
        "undecided": "Whether it rests there or is needed could not be decided.",
        "not tested": "Nothing was removed, so nobody knows whether it rests there or is needed.",
    }
    if finding.detail == "undecided" and what in ("nothing", "helps"):
        yield "Much of what it moves comes from there, and yet nothing is lost without it."
    else:
        yield meaning[finding.detail]


PATTERNS = {
    "previous token": "It looks at the token before: {value} of its weight.",
    "next token": "It looks at the token after: {value} of its weight.",
    "induction": "It continues repetitions: where random tokens come a second time, {value} of its "
    "weight is on what followed them the first time.",
    "alignment": "It looks at the word being translated: {value} of its weight is on the source "
    "token that the prediction depends on most.",
}


def _pattern(detail: str, evidence: Evidence) -> str:
    value = _number(evidence.value.mean)
    if detail in PATTERNS:
        return PATTERNS[detail].format(value=value)
    if detail == "duplicate":
        where = {
            "pair_duplicate": "in the other one of two sentences with the same words",
            "repeat_duplicate": "where random tokens come a second time",
        }[evidence.measure]
        return f"It looks at copies of the same token: {value} of its weight, {where}."
    return f"It is known for looking at {_the(detail)}: {value} of its weight."


def _tested(
    finding: Finding, what: Effect | None, both: Interval | None, tolerance: float
) -> Iterator[str]:
    """What the experiments have shown."""
    ablation = finding.ablation
    change = ablation.get("zero", ablation.get("mean"))
    if change is None or what is None:
        return
    if what == "costs":
        yield f"Removing it costs {_nats(change)}."
    elif what == "little":
        yield f"Removing it costs a little: {_nats(change)}."
    elif what == "helps":
        yield f"Without it the model does better: the loss falls by {_nats(_turned(change))}."
    elif what == "nothing":
        yield f"Removing it costs next to nothing: {_nats(change)}."
    elif math.isnan(change.low):
        yield (
            f"On the only text, removing it changes the loss by {_nats(change)}; one text allows "
            "no interval."
        )
    else:
        yield f"Whether removing it costs anything is open: {_nats(change)}."
    if "zero" in ablation and "mean" in ablation:
        mean = effect(ablation["mean"], tolerance)
        if what in ("costs", "little") and mean == "nothing":
            yield (
                "With its average output in its place the loss stays: what the model needs of it "
                "is a constant."
            )
        elif what in ("nothing", "helps", "open") and mean == "costs":
            yield f"Its average output in its place costs more: {_nats(ablation['mean'])}."
    if finding.label == "uniform" and "uniform" in ablation:
        even = effect(ablation["uniform"], tolerance)
        if even == "nothing":
            yield "A plain average of everything it can see does as well as the head."
        elif even in ("costs", "little"):
            yield f"A plain average in its place costs {_nats(ablation['uniform'])}."
    if finding.partner is not None and both is not None:
        together = effect(both, tolerance)
        if together == "costs":
            yield (
                f"Removing both costs {_nats(both)}: one of the two is needed."
                if (what != "costs")
                else f"Removing both costs {_nats(both)}."
            )
        elif together in ("nothing", "helps"):
            yield f"Removing both costs next to nothing either: {_nats(both)}."
        else:
            yield f"What removing both costs is open: {_nats(both)}."


def _rest(finding: Finding) -> Iterator[str]:
    """What else fits, and what is a close call."""
    if finding.also:
        yield f"It also fits {_listed(finding.also)}."
    for one in finding.evidence:
        if one.value.low < one.threshold < one.value.high and finding.label != "sink":
            yield (
                f"A close call: {one.label.lower()} is between {_number(one.value.low)} and "
                f"{_number(one.value.high)}, and the limit is {_number(one.threshold)}."
            )


def _nats(change: Interval) -> str:
    """A loss change with its interval: "0.12 nats per token (0.08 to 0.16)"."""
    said = f"{_fine(change.mean)} nats per token"
    if math.isnan(change.low):
        return said
    return f"{said} ({_fine(change.low)} to {_fine(change.high)})"


def _turned(change: Interval) -> Interval:
    return Interval(-change.mean, -change.high, -change.low, change.spread, change.texts)


def _fine(value: float) -> str:
    shown = f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"
    return "0" if float(shown) == 0 else shown


def _number(value: float) -> str:
    if 0 < abs(value) < 0.0005:
        return "less than 0.001"
    return "0" if value == 0 else f"{value:.3f}" if abs(value) < 0.01 else f"{value:.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def _the(name: str) -> str:
    return name if name.startswith(("[", "<")) else f"the {name}"


def _listed(words: tuple[str, ...]) -> str:
    quoted = [f"“{word}”" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
