"""Rows and columns of a map: tokens, or whole words made of neighbouring tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from attnviz.attention.stack.attention_stack import AttentionStack
from attnviz.attention.stack.map_tiles import BINS, Grid, How, Window, grid
from attnviz.attention.stack.pooling import Edges, seen_per_bin
from attnviz.types import Head, Words

__all__ = ["MapAxes", "merged_weights"]

ROWS = 256
"""Words whose weights exist at a time while a long map is put into bins."""


def merged_weights(
    stack: AttentionStack, layer: int, head: int, queries: Edges, keys: Edges
) -> Float[np.ndarray, "query_word key_word"]:
    """Return weights between words: sums over the tokens of a key, means over those of a query.

    Rows still sum to what the rows of tokens sum to. Source: Clark et al. 2019, "What does BERT
    look at?", section 4.1. Computed without the whole map of tokens in memory.

    Args:
        stack: whose weights.
        layer: index of the layer.
        head: index of the head.
        queries: edges of the query words, as in `Words`; a part of them for a part of the map.
        keys: edges of the key words.

    Raises:
        CaptureError: as `AttentionStack.weights`.
    """
    weights = stack.binned(layer, head, queries, keys, "sum")
    weights /= np.diff(queries)[:, None].astype(np.float32)
    return weights


@dataclass(frozen=True)
class MapAxes:
    """Rows and columns of the maps of one stack, as tokens or as words.

    Attributes:
        stack: whose maps.
        queries: the rows.
        keys: the columns.
    """

    stack: AttentionStack
    queries: Words
    keys: Words

    @property
    def merged(self) -> bool:
        """True if a row or a column stands for several tokens."""
        return self.shape != self.stack.shape[2:]

    @property
    def unit(self) -> Literal["token", "word"]:
        """Return what a row stands for."""
        return "word" if self.merged else "token"

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return len(self.queries), len(self.keys)

    def weights(
        self, head: Head, rows: slice = slice(None), columns: slice = slice(None)
    ) -> Float[np.ndarray, "row column"]:
        """Return the weights of a rectangle of a head's map; 0 where masked."""
        if not self.merged:
            exact: np.ndarray = self.stack.weights(head.layer, head.head, rows, columns)
            return exact
        edges = self._edges(rows, columns)
        return merged_weights(self.stack, head.layer, head.head, *edges)

    def visible(
        self, layer: int, rows: slice = slice(None), columns: slice = slice(None)
    ) -> Bool[np.ndarray, "row column"]:
        """Return whether a token of a row sees a token of a column."""
        seen: Bool[np.ndarray, "row column"] = (
            seen_per_bin(self.stack.layers[layer].visibility, *self._edges(rows, columns)) > 0
        )
        return seen

    def grid(
        self, head: Head, window: Window, *, how: How = "max", aside: tuple[int, ...] = ()
    ) -> Grid:
        """Return the weights of a window, as `grid` does; words have no scores.

        Of a window of more than 256 words a number stands for a bin of words, each merged first.

        Args:
            head: of which head.
            window: which part, counted in rows and columns.
            how: what stands for a bin.
            aside: columns that are left out of bins.
        """
        if not self.merged:
            return grid(self.stack, head, window, how=how, aside=np.array(aside, dtype=int))
        steps = -(-window.queries // BINS), -(-window.keys // BINS)
        parts = [
            self._bins(head, slice(start, min(start + self._chunk(steps[0]), window.query_stop)),
                       window.slices[1], steps, how, aside)
            for start in range(window.query_start, window.query_stop, self._chunk(steps[0]))
        ]  # fmt: skip
        return Grid(window, *steps, np.concatenate(parts))

    def columns_of(self, keys: tuple[int, ...]) -> tuple[int, ...]:
        """Return the columns that have one of these tokens, ascending."""
        return tuple(sorted({self.keys.index_of(key) for key in keys}))

    def _chunk(self, step: int) -> int:
        """Return a number of rows that is a multiple of a bin's."""
        return max(ROWS // step, 1) * step

    def _edges(self, rows: slice, columns: slice) -> tuple[Edges, Edges]:
        first, second = (
            words.edges[part.start or 0 : (len(words) if part.stop is None else part.stop) + 1]
            for words, part in ((self.queries, rows), (self.keys, columns))
        )
        return first, second

    def _bins(
        self,
        head: Head,
        rows: slice,
        columns: slice,
        steps: tuple[int, int],
        how: How,
        aside: tuple[int, ...],
    ) -> Float[np.ndarray, "row_bin column_bin"]:
        """Return some rows of a window in bins, marked as the values of a `Grid` are."""
        values = self.weights(head, rows, columns)
        visible = self.visible(head.layer, rows, columns)
        if steps == (1, 1):
            values[~np.isfinite(values)] = -np.inf
            values[~visible] = np.nan
            return values
        shown = visible.copy()
        if steps[1] > 1:
            inside = [one - columns.start for one in aside if columns.start <= one < columns.stop]
            shown[:, inside] = False
        values[~shown] = 0.0
        counted, seen = _summed(shown, steps), _summed(visible, steps)
        binned = _summed(values, steps) / np.maximum(counted, 1)
        broken = ~np.isfinite(binned)
        if how == "max":
            binned = _reduced(np.maximum, values, steps)
        binned[broken] = -np.inf
        binned[counted == 0] = np.inf
        binned[seen == 0] = np.nan
        marked: np.ndarray = binned.astype(np.float32)
        return marked


def _summed(table: np.ndarray, steps: tuple[int, int]) -> np.ndarray:
    return _reduced(np.add, table.astype(np.float32), steps)


def _reduced(reduce: np.ufunc, table: np.ndarray, steps: tuple[int, int]) -> np.ndarray:
    """Return a table in bins of so many rows and columns; the last of each axis may be smaller."""
    rows, columns = (
        np.arange(0, size, step) for size, step in zip(table.shape, steps, strict=True)
    )
    binned: np.ndarray = reduce.reduceat(reduce.reduceat(table, rows, axis=0), columns, axis=1)
    return binned
