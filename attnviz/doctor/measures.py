"""All that the doctor measures of a head before it is given a name, text by text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from attnviz import metrics
from attnviz.doctor.alignment import read_alignment
from attnviz.doctor.examples import Example
from attnviz.doctor.intervals import Intervals, intervals
from attnviz.doctor.patterns import read_pairs, read_repeats
from attnviz.doctor.reading import Projections, read_texts
from attnviz.doctor.texts import TextSet
from attnviz.doctor.windows import cut_to_windows, likeness, read_windows
from attnviz.models import Encoded, Model
from attnviz.types import Kind, Metric

__all__ = ["OWN", "PAIRS", "Measures", "Pairs", "describe", "measure", "names"]

_OWN = (
    Metric(
        "lowest_entropy",
        "Lowest normalized entropy",
        "",
        "The normalized entropy that nine rows in ten exceed: near 1, all of them are uniform.",
        (0.0, 1.0),
        "exceeds {value} of the largest possible entropy in nine rows of ten",
    ),
    Metric(
        "content_dependence",
        "Dependence on the text",
        "nats",
        "How much the text decides where a row looks: 0 when it looks at the same places whatever "
        "the text says.",
        (0.0, None),
        "chooses its keys by the text to {value} nats",
    ),
    Metric(
        "output_share",
        "Size of its output",
        "",
        "The length of what the head adds, beside the length of the vectors it is added to.",
        (0.0, None),
        "adds vectors {value} times as long as those it adds them to",
    ),
    Metric(
        "separators",
        "Weight on separators",
        "",
        "The mean weight on special tokens behind the first one: [SEP] in BERT, </s> in T5.",
        (0.0, 1.0),
        "gives {value} of its weight to separators",
    ),
    Metric(
        "rest",
        "Weight on resting places",
        "",
        "The mean weight on the first token and on separators together, over the rows that could "
        "look elsewhere.",
        (0.0, 1.0),
        "gives {value} of its weight to the first token and separators",
    ),
    Metric(
        "sink_value_share",
        "Value taken from there",
        "",
        "The part of what the head moves that comes from the first token and separators: weight "
        "times the length of the value.",
        (0.0, 1.0),
        "takes {value} of what it moves from the first token and separators",
    ),
    Metric(
        "rows_elsewhere",
        "Rows that look elsewhere",
        "",
        "The share of rows that give the first token and separators less than half of the weight.",
        (0.0, 1.0),
        "looks mostly elsewhere in {value} of its rows",
    ),
    Metric(
        "repeat_induction",
        "Induction on random tokens",
        "",
        "On random tokens repeated once: the weight on what followed the earlier copy.",
        (0.0, 1.0),
        "gives {value} of its weight to what followed the earlier copy of a random token",
    ),
    Metric(
        "repeat_duplicate",
        "Duplicate on random tokens",
        "",
        "On random tokens repeated once: the weight on the earlier copy.",
        (0.0, 1.0),
        "gives {value} of its weight to the earlier copy of a random token",
    ),
    Metric(
        "repeat_previous",
        "Previous token on random tokens",
        "",
        "On random tokens repeated once: the weight on the token before.",
        (0.0, 1.0),
        "gives {value} of its weight to the token before, among random tokens",
    ),
    Metric(
        "pair_duplicate",
        "Same word in the other sentence",
        "",
        "A text paired with its own words in another order: the weight on the same token in the "
        "other one.",
        (0.0, 1.0),
        "gives {value} of its weight to the same token in the other sentence",
    ),
    Metric(
        "alignment",
        "Alignment",
        "",
        "The weight on the source token that the prediction depends on most, found by hiding them "
        "one by one.",
        (0.0, 1.0),
        "gives {value} of its weight to the source token that the prediction hangs on",
    ),
    Metric(
        "head_distance",
        "Distance to the nearest head",
        "nats",
        "Jensen-Shannon divergence from the most similar head of the layer: 0 looks at the same "
        "keys, 0.69 at no common key.",
        (0.0, float(np.log(2))),
        "is {value} nats away from the nearest head",
    ),
    Metric(
        "output_cosine",
        "Cosine with the nearest head",
        "",
        "How parallel the vectors are that this head and the most similar one add: 1 is the same "
        "direction.",
        (-1.0, 1.0),
        "adds vectors with a cosine of {value} to those of the nearest head",
    ),
)

OWN: Mapping[str, Metric] = {one.name: one for one in _OWN}
"""The doctor's own measures, beside those of the registry."""

PAIRS = ("head_distance", "output_cosine")
"""Measures of two heads; a head's own value is the one with its nearest neighbour."""

FEW_WINDOWS = 10
MOSTLY_ALIKE = 0.5

WHOLE = {"texts": 0.45, "windows": 0.35, "patterns": 0.2}  # shares of the work, roughly


def names() -> tuple[str, ...]:
    """All measures, the registry's first."""
    return (*metrics.names(), *OWN)


def describe(name: str) -> Metric:
    """A measure's label, unit, range and meaning.

    Raises:
        CaptureError: there is no measure of that name.
    """
    return OWN[name] if name in OWN else metrics.describe(name)


@dataclass(frozen=True)
class Pairs:
    """How alike the heads of each layer are: over windows, of one kind of attention."""

    head_distance: Intervals
    output_cosine: Intervals

    def nearest(self, layer: int, head: int) -> int | None:
        """The head of the layer that looks most alike; None where nothing is known."""
        row = self.head_distance.mean[layer, head].copy()
        row[head] = np.nan
        return None if np.isnan(row).all() else int(np.nanargmin(row))

    def table(self) -> dict[str, Intervals]:
        """Both measures of each head with its nearest neighbour, [layer, head]."""
        layers, heads, _ = self.head_distance.mean.shape
        nearest = [[self.nearest(layer, head) for head in range(heads)] for layer in range(layers)]
        return {name: _picked(getattr(self, name), nearest) for name in PAIRS}


@dataclass(frozen=True)
class Measures:
    """What was measured of a model's heads, over texts.

    Attributes:
        tables: per kind, intervals [layer, head] by name. Some are over texts, others over windows
            or over random sequences; `Interval.texts` says over how many.
        pairs: per kind, between the heads of a layer, [layer, head, head].
        values: what the tables were made of, per text, window or sequence; for figures.
        received: per kind, the mean weight that each place of a window gets.
        notes: what could not be measured, as sentences.
    """

    tables: Mapping[Kind, Mapping[str, Intervals]]
    pairs: Mapping[Kind, Pairs]
    values: Mapping[Kind, Mapping[str, Float[np.ndarray, "layer head text"]]] = field(
        default_factory=dict
    )
    received: Mapping[Kind, Float[np.ndarray, "layer head place"]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def measure(
    model: Model,
    examples: Sequence[Example],
    texts: TextSet,
    projections: Projections,
    *,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Measures:
    """Measure every head on a set of texts.

    Args:
        model: from `attnviz.load`.
        examples: the texts as the model reads them.
        texts: the same as they were given.
        projections: each head's slice of its layer's output projection.
        seed: of random tokens and of the bootstrap.
        progress: told the share that is done, often. It may raise to cancel: the model is left as
            it was.
    """
    encoded = [example.encoded for example in examples]
    parts = _parts(progress)
    tables = read_texts(model, encoded, projections, next(parts))
    cut = cut_to_windows(model, encoded)
    windows = read_windows(model, cut, projections, next(parts), seed=seed)
    tick = next(parts)
    for found in (
        read_repeats(model, tick, seed=seed),
        read_pairs(model, [text.source for text in texts.texts], tick, seed=seed),
        read_alignment(model, encoded, tick),
    ):
        for kind, measured in found.items():
            tables[kind].update(measured)
    tick(1.0)
    pairs = {
        kind: Pairs(
            intervals(windows.head_distance[kind], seed=seed),
            intervals(windows.output_cosine[kind], seed=seed),
        )
        for kind in windows.head_distance
    }
    summed: dict[Kind, dict[str, Intervals]] = {}
    for kind, measured in tables.items():
        known = {name: intervals(values, seed=seed) for name, values in measured.items()}
        if windows.texts:
            known |= {"content_dependence": windows.dependence[kind], **pairs[kind].table()}
        empty = intervals(np.full((*model.info.heads[kind], 1), np.nan))
        summed[kind] = {name: known.get(name, empty) for name in names()}
    notes = _notes(model, cut, projections)
    return Measures(summed, pairs, tables, windows.received, notes)


def _notes(model: Model, windows: Sequence[Encoded], projections: Projections) -> tuple[str, ...]:
    notes = []
    if len(windows) < 2:
        notes.append(
            "the texts are too few or too short to be compared with each other: whether a head "
            "depends on the text, and whether two heads do the same, was not measured"
        )
    elif len(windows) < FEW_WINDOWS:
        notes.append(
            f"only {len(windows)} texts are long enough to be compared with each other: how much "
            "heads depend on the text comes out too small"
        )
    if likeness(windows) > MOSTLY_ALIKE:
        notes.append(
            f"the texts begin alike ({likeness(windows):.0%} of their first tokens are the same): "
            "heads seem to depend on the text less than they do"
        )
    missing = sum(one is None for layers in projections.values() for one in layers)
    if missing:
        notes.append(
            f"in {missing} layers of {model.info.name} no output projection was found: what their "
            "heads add to the text's vectors was not measured"
        )
    return tuple(notes)


def _parts(progress: Callable[[float], None] | None) -> Iterator[Callable[[float], None]]:
    """For each part of the work, what to tell its share to."""
    begin = 0.0
    for share in WHOLE.values():

        def tick(done: float, begin: float = begin, share: float = share) -> None:
            if progress is not None:
                progress(min(begin + share * done, 1.0))

        yield tick
        begin += share


def _picked(table: Intervals, nearest: list[list[int | None]]) -> Intervals:
    """Of a table [layer, head, head], the column of each head's neighbour."""

    def pick(numbers: Float[np.ndarray, "layer head head"], missing: float) -> np.ndarray:
        return np.asarray(
            [
                [
                    missing if other is None else numbers[layer, head, other]
                    for head, other in enumerate(row)
                ]
                for layer, row in enumerate(nearest)
            ]
        )

    return Intervals(
        pick(table.mean, np.nan),
        pick(table.low, np.nan),
        pick(table.high, np.nan),
        pick(table.spread, np.nan),
        pick(table.texts, 0).astype(int),
    )
