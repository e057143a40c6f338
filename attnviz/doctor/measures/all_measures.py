"""Measures of all heads, from texts, windows and pattern tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from attnviz.doctor.measures.alignment_heads import read_alignment
from attnviz.doctor.measures.bootstrap import Intervals, intervals
from attnviz.doctor.measures.descriptions import names
from attnviz.doctor.measures.fixed_places import FixedPlaces
from attnviz.doctor.measures.pattern_tests import read_pairs, read_repeats
from attnviz.doctor.measures.text_measures import Projections, read_texts
from attnviz.doctor.measures.window_measures import cut_to_windows, likeness, read_windows
from attnviz.experiments.loss_examples import Example
from attnviz.experiments.text_sets import TextSet
from attnviz.models import Encoded, Model
from attnviz.types import Kind
from attnviz.written_numbers import percent

__all__ = ["PAIRS", "Measures", "Pairs", "measure"]

PAIRS = ("head_distance", "output_cosine")
"""Measures of two heads; a head's own value is the one with its nearest neighbour."""

FEW_WINDOWS = 10
MOSTLY_ALIKE = 0.5

WHOLE = {"texts": 0.45, "windows": 0.35, "patterns": 0.2}  # shares of the work, roughly


@dataclass(frozen=True)
class Pairs:
    """Similarity of the heads of each layer, over windows, for one kind of attention."""

    head_distance: Intervals
    output_cosine: Intervals

    def nearest(self, layer: int, head: int) -> int | None:
        """Return the head of the layer with the nearest rows; None if nothing was measured."""
        row = self.head_distance.mean[layer, head].copy()
        row[head] = np.nan
        return None if np.isnan(row).all() else int(np.nanargmin(row))

    def table(self) -> dict[str, Intervals]:
        """Return both measures of each head with its nearest neighbour, [layer, head]."""
        layers, heads, _ = self.head_distance.mean.shape
        nearest = [[self.nearest(layer, head) for head in range(heads)] for layer in range(layers)]
        return {name: _picked(getattr(self, name), nearest) for name in PAIRS}


@dataclass(frozen=True)
class Measures:
    """Measures of a model's heads over texts.

    Attributes:
        tables: per kind, intervals [layer, head] by name. Some are over texts, others over windows
            or over random sequences; `Interval.texts` says over how many.
        pairs: per kind, between the heads of a layer, [layer, head, head].
        values: what the tables were made of, per text, window or sequence; for figures.
        received: per kind, the mean weight that each place of a window gets.
        fixed: per kind, best offset and best other resting place of every head.
        notes: what could not be measured, as sentences.
        per_text: names in `values` that were measured on the texts, one number per text read.
    """

    tables: Mapping[Kind, Mapping[str, Intervals]]
    pairs: Mapping[Kind, Pairs]
    values: Mapping[Kind, Mapping[str, Float[np.ndarray, "layer head text"]]] = field(
        default_factory=dict
    )
    received: Mapping[Kind, Float[np.ndarray, "layer head place"]] = field(default_factory=dict)
    fixed: Mapping[Kind, FixedPlaces] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    per_text: frozenset[str] = frozenset()


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
        progress: callback for the finished share. It may raise to cancel: the model is left as
            it was.
    """
    encoded = [example.encoded for example in examples]
    parts = _parts(progress)
    tables = read_texts(model, encoded, projections, next(parts))
    per_text = {name for measured in tables.values() for name in measured}
    cut = cut_to_windows(model, encoded)
    windows = read_windows(model, cut, next(parts))
    tick = next(parts)
    for added in (
        read_repeats(model, tick, seed=seed),
        read_pairs(model, [text.source for text in texts.texts], tick, seed=seed),
        read_alignment(model, encoded, tick),
    ):
        for kind, measured in added.items():
            tables[kind].update(measured)
            per_text -= set(measured)
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
            fixed = windows.fixed[kind].tables()
            known |= {name: intervals(values, seed=seed) for name, values in fixed.items()}
        empty = intervals(np.full((*model.info.heads[kind], 1), np.nan))
        summed[kind] = {name: known.get(name, empty) for name in names()}
    notes = _notes(model, cut, projections)
    return Measures(
        summed, pairs, tables, windows.received, windows.fixed, notes, frozenset(per_text)
    )


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
            "heads depend on the text is uncertain, and may come out too small"
        )
    if likeness(windows) > MOSTLY_ALIKE:
        notes.append(
            f"the texts begin alike ({percent(likeness(windows))} of their first tokens are the "
            "same): heads seem to depend on the text less than they do"
        )
    missing = sum(one is None for layers in projections.values() for one in layers)
    if missing:
        notes.append(
            f"in {missing} layers of {model.info.name} the heads' outputs could not be followed to "
            "the residual stream: what they add to it was not measured"
        )
    return tuple(notes)


def _parts(progress: Callable[[float], None] | None) -> Iterator[Callable[[float], None]]:
    """Yield a progress callback for each part of the work, which takes the share of that part."""
    begin = 0.0
    for share in WHOLE.values():

        def tick(done: float, begin: float = begin, share: float = share) -> None:
            if progress is not None:
                progress(min(begin + share * done, 1.0))

        yield tick
        begin += share


def _picked(table: Intervals, nearest: list[list[int | None]]) -> Intervals:
    """Return the column of each head's neighbour in a table [layer, head, head]."""

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
