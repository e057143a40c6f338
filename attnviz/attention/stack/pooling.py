"""Pooling of attention maps into bins: largest weight, sum, number of visible cells."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnviz.attention.masks.visibility import Visibility

__all__ = ["Edges", "Gathering", "bins_of", "even_edges", "gathered", "seen_per_bin"]

Gathering = Literal["max", "sum"]

Edges = Int[np.ndarray, " edge"]
"""First position of each bin of an axis, ascending, and the end of the last; no bin is empty."""

COUNTED = 1 << 21  # pairs of a query and a bin of keys that are counted at a time


def gathered(
    table: Float[Tensor, "row column"], edges: Edges, how: Gathering
) -> Float[Tensor, "row bin"]:
    """Return the largest number, or the sum, of the columns of each bin."""
    if not table.is_cuda:
        reduce = np.maximum if how == "max" else np.add
        return torch.from_numpy(reduce.reduceat(table.numpy(), edges[:-1], axis=1))
    # Every bin is as wide as the widest: a narrower one repeats its last column, or adds 0.
    width = int(np.diff(edges).max())
    columns = edges[:-1, None] + np.arange(width)
    inside = columns < edges[1:, None]
    columns = np.minimum(columns, edges[1:, None] - 1)
    binned = table[:, torch.as_tensor(columns, device=table.device)]  # (row, bin, width)
    if how == "max":
        return binned.amax(-1)
    return (binned * torch.as_tensor(inside, device=table.device)).sum(-1)


def even_edges(length: int, bins: int) -> Edges:
    """Return the edges of at most `bins` bins, whose widths differ by at most one."""
    bins = min(bins, length)
    return np.arange(bins + 1) * length // bins


def bins_of(edges: Edges, start: int, end: int) -> tuple[int, int]:
    """Return the first bin that overlaps start..end-1, and one past the last; (0, 0) if none."""
    start, end = max(start, int(edges[0])), min(end, int(edges[-1]))
    if start >= end:
        return 0, 0
    return int(np.searchsorted(edges, start, "right")) - 1, int(np.searchsorted(edges, end, "left"))


def seen_per_bin(
    rule: Visibility, query_edges: Edges, key_edges: Edges, without: Collection[int] = ()
) -> Int[np.ndarray, "query_bin key_bin"]:
    """Count the visible pairs of a query and a key in each bin.

    Args:
        rule: visibility of one text.
        query_edges: bins of queries.
        key_edges: bins of keys.
        without: keys that are not counted.
    """
    rule = rule.on(torch.device("cpu"))
    counts = np.ones(rule.n_keys, np.int64) if rule.keys is None else rule.keys[0].numpy().copy()
    counts[list(without)] = 0
    if rule.dense is not None:
        table = rule.dense[0].numpy()[query_edges[0] : query_edges[-1]] * counts
        columns = np.add.reduceat(table[:, : key_edges[-1]], key_edges[:-1], 1, np.int64)
        return np.add.reduceat(columns, query_edges[:-1] - query_edges[0], 0)
    before = np.concatenate([[0], counts.cumsum()])  # number of counted keys before each key
    low, high = key_edges[:-1], key_edges[1:]
    pairs = np.empty((len(query_edges) - 1, len(low)), np.int64)
    start = 0
    while start < len(pairs):
        most = query_edges[start] + COUNTED // len(low)
        end = max(int(np.searchsorted(query_edges, most, "right")) - 1, start + 1)
        rows = slice(query_edges[start], query_edges[end])
        first, stop = (bound[0, rows, None].numpy() for bound in (rule.first, rule.stop))
        visible = before[np.clip(stop, low, high)] - before[np.clip(first, low, high)]
        edges = query_edges[start:end] - query_edges[start]
        pairs[start:end] = np.add.reduceat(np.maximum(visible, 0), edges, 0)
        start = end
    return pairs
