"""Course of a training: what its curves are called, and what is seen in them.

Everything here is worked out from the curves alone, so that a training that was interrupted knows
as much as one that was not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attnviz.monitor.probe import NOT_FINITE, Scores
from attnviz.types import KIND_LABELS, Kind
from attnviz.written_numbers import decimals

__all__ = [
    "COLLAPSED",
    "FALLEN",
    "ONSET",
    "PATTERNS",
    "PREFIX",
    "RECOVERED",
    "Alarm",
    "Row",
    "alarms",
    "collapsed_layers",
    "curves",
    "onset",
]

PREFIX = "attention/"

COLLAPSED = 0.05
"""A layer's entropy has collapsed below this share of what its visible keys allow. Zhai et al. 2023
give no number; a head below it has, in effect, one key per row."""

FALLEN = 0.5
"""... and below this share of the highest value the layer itself has had: a layer that has always
been that sharp (heads at rest on a sink in a trained model) has not collapsed."""

RECOVERED = 0.1
"""A collapsed layer counts as recovered above this, and can then collapse again."""

ONSET = 0.3
"""A pattern begins when the best head gives it this share of its weight. Chance on the repeated
random tokens is about 0.03, a formed induction head reaches 0.8 to 0.95 (Olsson et al. 2022)."""

PATTERNS = ("previous_token", "next_token", "self", "duplicate_token", "induction")
"""Metrics of what single heads do: a layer's value is its best head's, not the mean."""

Row = tuple[int, Mapping[str, float]]
"""A step, and the value of every curve there."""


@dataclass(frozen=True)
class Alarm:
    """Layer whose attention has collapsed, or computes NaN or infinity.

    Attributes:
        step: when it was seen.
        kind: which attention.
        layer: which layer.
        entropy: the mean of its heads as a share of what the visible keys allow; NaN where it is
            no number.
        before: the highest value it has had; -inf if it has never had one.
    """

    step: int
    kind: Kind
    layer: int
    entropy: float
    before: float

    def __str__(self) -> str:
        """Return what happened and what to look at, in sentences."""
        place = f"{KIND_LABELS[self.kind]} of layer {self.layer}"
        if math.isnan(self.entropy) and self.before == -math.inf:
            return (
                f"step {self.step}: the {place} computes NaN or infinity, and has done so from the "
                "first look on: the weights that the training started from are not finite, or too "
                "large for the precision it computes in"
            )
        if math.isnan(self.entropy):
            return (
                f"step {self.step}: the {place} is no longer a number; the training has diverged. "
                "Go back to a checkpoint from before, with a lower learning rate"
            )
        return (
            f"step {self.step}: the entropy of the {place} has collapsed to "
            f"{decimals(self.entropy, 3)} of what its keys allow, from {decimals(self.before)}: "
            "nearly all its heads look at one key. "
            "This often comes before a diverging loss (Zhai et al. 2023); a lower learning rate, a "
            "longer warm-up or normalised queries and keys help. If the loss stays calm, the heads "
            "may only rest on one token, as those of trained models do"
        )


def curves(scores: Scores, every_head: bool) -> dict[str, float]:
    """Return the values to be reported, by name; what does not exist, or is no number, is left out.

    `attention/<metric>/L0` is a layer: the mean of its heads, or the best one for a pattern.
    `attention/<metric>/L0.H3` is a head, `attention/<pattern>/max` the best of the model. Where a
    model has several kinds of attention their names come before: `attention/entropy/cross.L0`.
    `attention/not_finite/L0` is the number of a layer's heads that compute NaN or infinity; left
    out while there are none.
    """
    points: dict[str, float] = {}
    for (kind, metric), table in scores.items():
        start = f"{PREFIX}{metric}/" + ("" if kind == "self" else f"{kind}.")
        if metric == NOT_FINITE:
            counts = enumerate((table > 0).sum(-1).tolist())
            points |= {f"{start}L{layer}": float(count) for layer, count in counts if count}
            continue
        pattern = metric in PATTERNS
        for layer, heads in enumerate(table):
            points[f"{start}L{layer}"] = _gathered(heads, pattern)
            if every_head:
                points |= {f"{start}L{layer}.H{head}": float(one) for head, one in enumerate(heads)}
        if pattern:
            points[f"{start}max"] = _gathered(table, pattern)
    return {name: value for name, value in points.items() if math.isfinite(value)}


def _gathered(values: Float[np.ndarray, ...], best: bool) -> float:
    there = values[np.isfinite(values)]
    # A head that is no number must not hide behind its neighbours.
    if not there.size or (not best and there.size < values.size):
        return math.nan
    return float(there.max() if best else there.mean())


LAYER = re.compile(rf"{PREFIX}(?:normalized_entropy|{NOT_FINITE})/((?:(\w+)\.)?L(\d+))")


def alarms(rows: Sequence[Row]) -> list[Alarm]:
    """Return every collapse, and every layer that computes NaN: the first until it recovers."""
    return sorted(
        (alarm for layer in _layers(rows) for alarm in _fallen(rows, layer)[0]),
        key=lambda one: one.step,
    )


def collapsed_layers(rows: Sequence[Row]) -> int:
    """Return how many layers are down at the last step."""
    return sum(_fallen(rows, layer)[1] for layer in _layers(rows))


def _layers(rows: Sequence[Row]) -> list[re.Match[str]]:
    """Return the layers that have a curve, in the order in which they first appear."""
    names = dict.fromkeys(name for _, row in rows for name in row)
    layers = [layer for name in names if (layer := LAYER.fullmatch(name))]
    return list({layer[1]: layer for layer in reversed(layers)}.values())[::-1]


def _fallen(rows: Sequence[Row], layer: re.Match[str]) -> tuple[list[Alarm], bool]:
    """Return the collapses of a layer, and True if it is down at the end."""
    kind = next(one for one in KIND_LABELS if one == (layer[2] or "self"))
    seen: list[Alarm] = []
    before, down = -math.inf, False
    for step, row in rows:
        value = row.get(f"{PREFIX}normalized_entropy/{layer[1]}", math.nan)
        broken = f"{PREFIX}{NOT_FINITE}/{layer[1]}" in row
        if not down and (broken or _is_down(value, before)):
            down = True
            seen.append(Alarm(step, kind, int(layer[3]), value, before))
        elif down and value > RECOVERED:
            down = False
        if not down:
            before = max(before, value)
    return seen, down


def _is_down(value: float, before: float) -> bool:
    if math.isnan(value):
        return math.isfinite(before)
    return value < COLLAPSED and value < FALLEN * before


def onset(rows: Sequence[Row], metric: str, threshold: float = ONSET) -> int | None:
    """Return the first step at which any head gives a pattern at least this share of its weight."""
    best = re.compile(rf"{PREFIX}{re.escape(metric)}/(?:\w+\.)?max")
    for step, row in rows:
        if any(best.fullmatch(name) and value >= threshold for name, value in row.items()):
            return step
    return None
