"""What is sent of a long map: a rectangle of it, in cells or in bins of several cells, as bytes.

A map of 4,096 tokens has 16.8 million cells and a screen has room for some hundred thousand. So at
most 256 x 256 numbers travel: of the whole map each stands for many cells, of a small part each is
a cell, exact to more digits than are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from attnviz.attention import AttentionStack
from attnviz.types import Head
from attnviz.views.weights import SINK_SHARE

__all__ = ["BINS", "Grid", "How", "Window", "encode", "grid", "sink_keys"]

How = Literal["max", "mean"]

BINS = 256
"""Most numbers along one side of what is sent."""

ROWS = 128  # queries whose weights exist at a time
MASKED, SINK, FULL = 0xFFFF, 0xFFFE, 0xFFFD


@dataclass(frozen=True)
class Window:
    """A rectangle of a map, in tokens; the stops are not part of it."""

    query_start: int
    query_stop: int
    key_start: int
    key_stop: int

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> Window:
        """The map itself; `shape` ends with (queries, keys)."""
        return cls(0, shape[-2], 0, shape[-1])

    @classmethod
    def read(cls, numbers: object, shape: tuple[int, ...]) -> Window | None:
        """What a browser says, cut to the map; None when it is no rectangle of it."""
        if not (isinstance(numbers, (list, tuple)) and len(numbers) == 4):
            return None
        if not all(isinstance(one, (int, float)) and abs(one) < 1e9 for one in numbers):
            return None
        query_start, query_stop, key_start, key_stop = (int(one) for one in numbers)
        made = cls(
            max(query_start, 0), min(query_stop, shape[-2]),
            max(key_start, 0), min(key_stop, shape[-1]),
        )  # fmt: skip
        return made if made.queries > 0 and made.keys > 0 else None

    @property
    def queries(self) -> int:
        """How many queries it spans."""
        return self.query_stop - self.query_start

    @property
    def keys(self) -> int:
        """How many keys it spans."""
        return self.key_stop - self.key_start

    @property
    def exact(self) -> bool:
        """Whether every number sent of it is one cell."""
        return max(self.queries, self.keys) <= BINS

    def numbers(self) -> list[int]:
        """As the browser reads it."""
        return [self.query_start, self.query_stop, self.key_start, self.key_stop]


@dataclass(frozen=True, eq=False)
class Grid:
    """The numbers of a window.

    Attributes:
        window: where they belong.
        query_step: queries per number; the last bin may hold fewer.
        key_step: keys per number.
        values: a weight, or the maximum or mean of the visible weights of a bin; NaN where
            nothing is visible, and infinite where nothing but set-aside keys is.
    """

    window: Window
    query_step: int
    key_step: int
    values: Float[np.ndarray, "query_bin key_bin"]

    @property
    def highest(self) -> float:
        """The largest number, 1 where there is none."""
        found = self.values[np.isfinite(self.values)]
        return float(found.max()) if found.size and found.max() > 0 else 1.0

    def without(self, keys: Sequence[int]) -> Grid:
        """The same without the columns of some keys, where each column is one key."""
        if self.key_step > 1:
            return self
        window = self.window
        columns = [
            key - window.key_start for key in keys if window.key_start <= key < window.key_stop
        ]
        kept = np.delete(self.values, columns, axis=1)
        return Grid(window, self.query_step, self.key_step, kept)


def sink_keys(stack: AttentionStack, head: Head) -> Int[np.ndarray, " key"]:
    """The keys that hold more than `SINK_SHARE` of a head's weight over the whole text."""
    _, _, queries, _ = stack.shape
    mass = np.asarray(stack.layers[head.layer].rows.key_mass[head.head])
    return np.flatnonzero(mass > SINK_SHARE * queries) if queries > 1 else np.array([], dtype=int)


def grid(
    stack: AttentionStack,
    head: Head,
    window: Window,
    *,
    how: How = "max",
    aside: Int[np.ndarray, " key"] | None = None,
) -> Grid:
    """The weights of a window, exact or pooled so that at most 256 x 256 numbers remain.

    Bin b of a side covers tokens start + b step to start + (b + 1) step - 1 of the window, with the
    smallest step that leaves no more than `BINS` bins. Masked cells are part of no mean.

    Args:
        stack: whose weights; it must have kept them.
        head: of which head.
        window: which part.
        how: what stands for a bin.
        aside: keys that are left out of bins (sinks); single cells are not changed by it.

    Raises:
        CaptureError: as `AttentionStack.weights`.
    """
    query_step, key_step = -(-window.queries // BINS), -(-window.keys // BINS)
    columns = slice(window.key_start, window.key_stop)
    kept = np.ones(window.keys, dtype=bool)
    if aside is not None and key_step > 1:
        kept[[key - columns.start for key in aside if columns.start <= key < columns.stop]] = False
    parts = []
    at_once = max(ROWS // query_step, 1) * query_step
    for start in range(window.query_start, window.query_stop, at_once):
        rows = slice(start, min(start + at_once, window.query_stop))
        weights = stack.weights(head.layer, head.head, rows, columns)
        rule = stack.layers[head.layer].visibility
        seen = rule.table(rows.start, rows.stop, columns.start, columns.stop)[0].cpu().numpy()
        parts.append(_pooled(weights, seen, kept, query_step, key_step, how))
    return Grid(window, query_step, key_step, np.concatenate(parts))


def _pooled(
    weights: np.ndarray, seen: np.ndarray, kept: np.ndarray, rows: int, columns: int, how: How
) -> Float[np.ndarray, "query_bin key_bin"]:
    if rows == columns == 1:
        return np.where(seen, weights, np.float32(np.nan))
    if not kept.all():
        weights = np.where(kept, weights, np.float32(0.0))  # masked weights are zero already
    shown = _bins(np.add, (seen & kept).astype(np.int32), rows, columns)
    values = _bins(np.maximum if how == "max" else np.add, weights, rows, columns)
    if how == "mean":
        values = values / np.maximum(shown, 1)
    if not kept.all():
        hidden = _bins(np.add, seen.astype(np.int32), rows, columns) > 0
        values = np.where((shown == 0) & hidden, np.inf, values)
        shown = np.where(hidden, 1, shown)
    return np.where(shown > 0, values, np.nan).astype(np.float32)


def _bins(reduce: np.ufunc, numbers: np.ndarray, rows: int, columns: int) -> np.ndarray:
    if columns > 1:
        numbers = reduce.reduceat(numbers, np.arange(0, numbers.shape[1], columns), axis=1)
    if rows > 1:
        numbers = reduce.reduceat(numbers, np.arange(0, numbers.shape[0], rows), axis=0)
    return numbers


def encode(found: Grid) -> tuple[bytes, float]:
    """Two bytes per number and the scale they are on: value = scale * (code / 65533)².

    The square spends the digits where most weights are, near zero, and is still exact to 2e-5 of
    the scale at its upper end. 65535 is masked, 65534 a bin of nothing but set-aside keys.
    """
    scale = found.highest
    shares = np.clip(np.nan_to_num(found.values, posinf=0.0) / scale, 0.0, 1.0)
    codes = np.rint(np.sqrt(shares) * FULL).astype("<u2")
    codes[np.isnan(found.values)] = MASKED
    codes[np.isinf(found.values)] = SINK
    return codes.tobytes(), scale
