"""Exact attention, computed block by block or by fused calls.

A block of queries is multiplied with all keys that its queries may see, so every row gets an
ordinary softmax and nothing is approximate. Only one block of scores exists at a time. The result
is the layer's output: the weights that are recorded are the weights that the model used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.attention.kernel.blocks import (
    GPU_SIZES,
    PROCESSOR_SIZES,
    Block,
    BlockShape,
    RowSums,
    Workspace,
)
from attnviz.attention.kernel.fused_statistics import FusedRows, FusedRowsObserver
from attnviz.attention.kernel.paths import Path, fused_obstacles, needs_gradient, preferred_path
from attnviz.attention.kernel.score_terms import ScoreTerms, attention_scores
from attnviz.attention.kernel.softmax import HiddenKeys, exponentials, exponentials_with_gradient
from attnviz.attention.masks.visibility import Visibility

__all__ = ["attend"]

TINY = torch.finfo(torch.float32).tiny  # total of a row without any weight


def attend(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch key_head key dim"],
    value: Float[Tensor, "batch key_head key value_dim"],
    visibility: Visibility,
    terms: ScoreTerms,
    *,
    observe: Callable[[Block], None] | None = None,
    shape: BlockShape | None = None,
    workspace: Workspace | None = None,
    path: Path | None = None,
) -> Float[Tensor, "batch query head value_dim"]:
    """Return the attention output; call `observe` with every block of weights.

    Args:
        query: after position rotation, as the model's own attention receives it.
        key: may have fewer heads than `query` (grouped queries).
        value: of as many heads as `key`.
        visibility: visible keys of each query. A query without any has output 0.
        terms: scaling, softcap, bias and sinks of the scores.
        observe: called once per block, in order of queries. The fused path calls the observer
            once, with all rows, if it is a `FusedRowsObserver`.
        shape: block size; chosen for the device when None.
        workspace: scratch buffers, reused between calls; new ones when None.
        path: "blocks" or "fused"; when None, the path set by `preferring` if possible, otherwise
            the faster one on this device.

    Raises:
        ValueError: `path` is "fused" and the fused path cannot compute this call.
    """
    if (path or preferred_path(query, key)) == "fused":
        obstacles = fused_obstacles(query, key, value, terms, observe)
        if not obstacles and isinstance(observe, FusedRowsObserver):
            rows = FusedRows.of(query, key, value, visibility, terms.scaling)
            observe.observe_fused_rows(rows)
            return rows.output.transpose(1, 2)
        if path == "fused":
            raise ValueError(
                "the fused path takes float32 calls without softcap, bias, sinks or gradient, and "
                f"an observer of whole rows; this call has {', '.join(obstacles)}: use "
                "path='blocks', or leave path out"
            )
    if shape is None:
        shape = BlockShape.of(
            *(query.shape[0], query.shape[1], *key.shape[1:3]),
            sizes=GPU_SIZES if query.is_cuda else PROCESSOR_SIZES,
            threads=torch.get_num_threads(),
        )
    # contiguous: every block reads K and V, and strided batch-matmul is slower
    key, value = key.contiguous(), value.contiguous()
    if needs_gradient(query, key, value, terms):
        return _attend_with_gradient(query, key, value, visibility, terms, observe, shape)
    workspace = workspace or Workspace()
    return _attend_in_blocks(query, key, value, visibility, terms, observe, shape, workspace)


def _attend_in_blocks(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch key_head key dim"],
    value: Float[Tensor, "batch key_head key value_dim"],
    visibility: Visibility,
    terms: ScoreTerms,
    observe: Callable[[Block], None] | None,
    shape: BlockShape,
    workspace: Workspace,
) -> Float[Tensor, "batch query head value_dim"]:
    """Return the attention output, computed in the buffers of `workspace`."""
    batch, heads, queries, _ = query.shape
    # Both buffers in the size of the largest block at once: causal blocks grow.
    size = batch * shape.heads * min(shape.rows, queries) * key.shape[2]
    buffer = workspace.take("scores", size, query.device)
    workspace.take("exponentials", size, query.device)
    sums = RowSums.empty(batch, heads, queries, query.device)
    has_keys = (visibility.count > 0)[:, None]  # (B, 1, q)
    output = value.new_empty(batch, queries, heads, value.shape[-1])  # (B, q, h, dv)
    for tile in _tiles(query, key, visibility, shape):
        q = query[:, tile.heads, tile.queries]  # (B, h, q, d)
        k = key[:, tile.key_heads, tile.keys]  # (B, g, k, d)
        v = value[:, tile.key_heads, tile.keys]  # (B, g, k, dv)
        part = terms.part(tile.heads, tile.queries, tile.keys)
        scores = attention_scores(q, k, part, out=buffer)  # (B, h, q, k)
        exps, tile_sums = exponentials(
            scores,
            part.sinks,
            tile.hidden,
            observed=observe is not None,
            workspace=workspace,
            piece=shape.piece,
        )  # exps (B, h, q, k), sums (B, h, q)
        # Visible keys, all with a score of -inf: NaN, as in any other softmax.
        lost = has_keys[..., tile.queries] & (tile_sums.total <= TINY)
        tile_sums.total.masked_fill_(lost, torch.nan)
        if observe is not None:
            sums.part(tile.heads, tile.queries).copy_from(tile_sums)
            observe(tile.block(exps, sums))
        output[:, tile.queries, tile.heads] = _weighted_values(exps, v, tile_sums.total)
    return output


def _attend_with_gradient(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch key_head key dim"],
    value: Float[Tensor, "batch key_head key value_dim"],
    visibility: Visibility,
    terms: ScoreTerms,
    observe: Callable[[Block], None] | None,
    shape: BlockShape,
) -> Float[Tensor, "batch query head value_dim"]:
    """Return the attention output, differentiable: without buffers that are overwritten."""
    batch, heads, queries, _ = query.shape
    sums = RowSums.empty(batch, heads, queries, query.device)
    outputs: list[Tensor] = []
    for tile in _tiles(query, key, visibility, replace(shape, heads=heads)):
        v = value[:, :, tile.keys]  # (B, g, k, dv)
        part = terms.part(tile.heads, tile.queries, tile.keys)
        scores = attention_scores(query[:, :, tile.queries], key[:, :, tile.keys], part)
        exps, tile_sums = exponentials_with_gradient(scores, part.sinks, tile.hidden)
        if observe is not None:
            sums.part(tile.heads, tile.queries).copy_from(tile_sums)
            observe(tile.block(exps.detach(), sums))
        outputs.append(_weighted_values(exps, v, tile_sums.total).to(value.dtype))
    return torch.cat(outputs, 1)


def _weighted_values(
    exps: Float[Tensor, "batch head query key"],
    value: Float[Tensor, "batch key_head key value_dim"],
    total: Float[Tensor, "batch head query"],
) -> Float[Tensor, "batch query head value_dim"]:
    """Return sum_j exps_ij / total_i * v_j, in float32; `exps` in the dtype of `value`."""
    batch, heads, rows, keys = exps.shape
    groups = value.shape[1]
    total = total[..., None]
    if value.dtype == torch.float16:
        # float16 ends at 65,504: sums of exponentials times values would go beyond it.
        exps, total = exps / total, torch.ones_like(total)
    stacked = exps.view(batch, groups, -1, keys).to(value)  # (B, g, h/g*q, k)
    sums = torch.matmul(stacked, value).view(batch, heads, rows, -1)  # (B, h, q, dv)
    return (sums.float() / total).transpose(1, 2)


class _Tile(NamedTuple):
    """Heads, queries and keys of one block, and the keys that are hidden from its queries."""

    heads: slice
    key_heads: slice
    queries: slice
    keys: slice
    hidden: list[HiddenKeys]

    def block(self, exps: Float[Tensor, "batch head query key"], sums: RowSums) -> Block:
        """Return the block that observers receive."""
        bounds = self.queries.start, self.queries.stop, self.keys.start, self.keys.stop
        return Block(self.heads, *bounds, exps, sums)


def _tiles(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch key_head key dim"],
    visibility: Visibility,
    shape: BlockShape,
) -> Iterator[_Tile]:
    """Yield the blocks of a call: by queries, and for the same queries by heads."""
    heads, queries = query.shape[1:3]
    group = heads // key.shape[1]  # query heads that share a key head
    for start in range(0, queries, shape.rows):
        end = min(start + shape.rows, queries)
        # Keys that no query of the block sees are left out: half of all products when causal.
        first, stop = visibility.within(start, end)
        hidden = [
            (slice(left - first, right - first), flags)
            for left, right, flags in visibility.hidden(start, end, first, stop)
        ]
        for head in range(0, heads, shape.heads):
            last = min(head + shape.heads, heads)
            shared = slice(head // group, -(-last // group))
            yield _Tile(slice(head, last), shared, slice(start, end), slice(first, stop), hidden)
