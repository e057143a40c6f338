"""Part of a long map that is sent: a rectangle, in cells or in bins of several cells, as bytes.

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
from attnviz.attention.stack.pooling import Gathering, seen_per_bin
from attnviz.types import Head

__all__ = [
    "BINS",
    "SCORED",
    "Grid",
    "How",
    "Window",
    "encode",
    "encode_signed",
    "grid",
]

How = Literal["max", "mean"]

BINS = 256
"""Most numbers along one side of what is sent."""

SCORED = 128
"""Windows of no more tokens than this come with the scores of their cells."""

MASKED, SINK, BROKEN, FULL = 0xFFFF, 0xFFFE, 0xFFFD, 0xFFFC


@dataclass(frozen=True)
class Window:
    """Rectangle of a map, in tokens; the stops are not part of it."""

    query_start: int
    query_stop: int
    key_start: int
    key_stop: int

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> Window:
        """Return the map itself; `shape` ends with (queries, keys)."""
        return cls(0, shape[-2], 0, shape[-1])

    @classmethod
    def read(cls, numbers: object, shape: tuple[int, ...]) -> Window | None:
        """Return the rectangle that a browser reports, cut to the map; None if it is none."""
        if not (isinstance(numbers, (list, tuple)) and len(numbers) == 4):
            return None
        if not all(isinstance(one, (int, float)) and abs(one) < 1e9 for one in numbers):
            return None
        if any(isinstance(one, bool) for one in numbers):
            return None
        query_start, query_stop, key_start, key_stop = (int(one) for one in numbers)
        window = cls(
            max(query_start, 0), min(query_stop, shape[-2]),
            max(key_start, 0), min(key_stop, shape[-1]),
        )  # fmt: skip
        return window if window.queries > 0 and window.keys > 0 else None

    @property
    def queries(self) -> int:
        """Return how many queries it spans."""
        return self.query_stop - self.query_start

    @property
    def keys(self) -> int:
        """Return how many keys it spans."""
        return self.key_stop - self.key_start

    @property
    def slices(self) -> tuple[slice, slice]:
        """Slices of the queries and of the keys."""
        return slice(self.query_start, self.query_stop), slice(self.key_start, self.key_stop)

    def sees_key(self, key: int) -> bool:
        """Return whether a key is part of it."""
        return self.key_start <= key < self.key_stop

    @property
    def exact(self) -> bool:
        """Return whether every number sent of it is one cell."""
        return max(self.queries, self.keys) <= BINS

    def numbers(self) -> list[int]:
        """Return the four bounds as a list for the browser."""
        return [self.query_start, self.query_stop, self.key_start, self.key_stop]


@dataclass(frozen=True, eq=False)
class Grid:
    """Numbers of a window.

    Attributes:
        window: where they belong.
        query_step: queries per number; the last bin may hold fewer.
        key_step: keys per number.
        values: a weight, or the maximum or mean of the visible weights of a bin; NaN where
            nothing is visible, infinite where nothing but set-aside keys is, and -infinite where
            the model gives a weight that is not finite.
        scores: before softmax, of a window small enough to send them as well.
    """

    window: Window
    query_step: int
    key_step: int
    values: Float[np.ndarray, "query_bin key_bin"]
    scores: Float[np.ndarray, "query key"] | None = None

    @property
    def highest(self) -> float:
        """Return the largest number, 1 where there is none."""
        finite = self.values[np.isfinite(self.values)]
        return float(finite.max()) if finite.size and finite.max() > 0 else 1.0

    def without(self, keys: Sequence[int]) -> Grid:
        """Return the same without the columns of some keys, where each column is one key."""
        if self.key_step > 1:
            return self
        window = self.window
        columns = [key - window.key_start for key in keys if window.sees_key(key)]
        kept = np.delete(self.values, columns, axis=1)
        return Grid(window, self.query_step, self.key_step, kept)


def grid(
    stack: AttentionStack,
    head: Head,
    window: Window,
    *,
    how: How = "max",
    aside: Int[np.ndarray, " key"] | None = None,
) -> Grid:
    """Return the weights of a window, exact or pooled so that at most 256 x 256 numbers remain.

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
    layer, place = head.layer, (head.layer, head.head)
    rule = stack.layers[layer].visibility
    if query_step == key_step == 1:
        values = stack.weights(*place, *window.slices)
        queries, keys = window.slices
        seen = rule.table(queries.start, queries.stop, keys.start, keys.stop)[0].cpu().numpy()
        values[~np.isfinite(values)] = -np.inf
        values[~seen] = np.nan
    else:
        values = _pooled(stack, head, window, (query_step, key_step), how, aside)
    if max(window.queries, window.keys) > SCORED:
        return Grid(window, query_step, key_step, values)
    return Grid(window, query_step, key_step, values, stack.scores(*place, *window.slices))


def _pooled(
    stack: AttentionStack,
    head: Head,
    window: Window,
    steps: tuple[int, int],
    how: How,
    aside: Int[np.ndarray, " key"] | None,
) -> Float[np.ndarray, "query_bin key_bin"]:
    """Return the weights of a window in bins.

    A bin is NaN where nothing is seen, and infinite where all is aside.
    """
    queries, keys = (
        np.append(np.arange(part.start, part.stop, step), part.stop)
        for part, step in zip(window.slices, steps, strict=True)
    )
    without = () if aside is None or steps[1] == 1 else tuple(map(int, aside))
    rule = stack.layers[head.layer].visibility
    visible = seen_per_bin(rule, queries, keys)
    shown = seen_per_bin(rule, queries, keys, without) if without else visible
    gathering: Gathering = "max" if how == "max" else "sum"
    values = stack.binned(head.layer, head.head, queries, keys, gathering, without)
    if how == "mean":
        values /= np.maximum(shown, 1)
    values[~np.isfinite(values)] = -np.inf
    values[shown == 0] = np.inf
    values[visible == 0] = np.nan
    return values


def table_grid(numbers: Float[np.ndarray, "row column"], window: Window) -> Grid:
    """Return a window of a table for the map component; the largest of each bin if it is long."""
    part = numbers[window.slices]
    steps = [max(1, -(-size // BINS)) for size in part.shape]
    if steps == [1, 1]:
        return Grid(window, 1, 1, part)
    padding = [(0, -size % step) for size, step in zip(part.shape, steps, strict=True)]
    padded = np.pad(part, padding, constant_values=np.nan)
    rows, columns = (size // step for size, step in zip(padded.shape, steps, strict=True))
    bins = padded.reshape(rows, steps[0], columns, steps[1])
    known = np.where(np.isnan(bins), -1.0, bins).max((1, 3))
    return Grid(window, steps[0], steps[1], np.where(known < 0, np.nan, known).astype(np.float32))


def encode(grid: Grid) -> tuple[bytes, float]:
    """Return the bytes of a grid, and the scale they are on.

    With scores: every weight and every score as four bytes, exactly; NaN is masked, and the scale
    is 1. Without: two bytes per number, value = scale * (code / 65532)². The square spends the
    digits where most weights are, near zero, and is still exact to 2e-5 of the scale at its upper
    end. 65535 is masked, 65534 a bin of nothing but set-aside keys, 65533 a weight that is NaN.
    """
    if grid.scores is not None:
        scores = np.nan_to_num(grid.scores, neginf=0.0)
        return grid.values.astype("<f4").tobytes() + scores.astype("<f4").tobytes(), 1.0
    scale = grid.highest
    shares = np.clip(np.nan_to_num(grid.values, posinf=0.0, neginf=0.0) / scale, 0.0, 1.0)
    codes = np.rint(np.sqrt(shares) * FULL).astype("<u2")
    codes[np.isnan(grid.values)] = MASKED
    codes[np.isposinf(grid.values)] = SINK
    codes[np.isneginf(grid.values)] = BROKEN
    return codes.tobytes(), scale


def encode_signed(grid: Grid) -> tuple[bytes, float]:
    """Return the bytes of a grid of differences, and the scale they are on.

    Two bytes per number: value = scale * sign(code) * (code / 32767)²; -32768 is NaN.
    """
    values = grid.values
    finite = np.abs(values[np.isfinite(values)])
    scale = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    shares = np.clip(np.nan_to_num(values) / scale, -1.0, 1.0)
    codes = np.rint(np.sign(shares) * np.sqrt(np.abs(shares)) * 32767).astype("<i2")
    codes[~np.isfinite(values)] = -32768
    return codes.tobytes(), scale
