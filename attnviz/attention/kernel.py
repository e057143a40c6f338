"""Exact attention, a block of queries at a time, and what each block's rows tell.

A block of queries sees all of its keys at once, so every row gets an ordinary softmax and nothing
is approximate; yet no more than one block of weights exists at any time. The output is the layer's
output: what is shown is what the model used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.attention.blocks import (
    GPU_SIZES,
    PROCESSOR_SIZES,
    Block,
    BlockShape,
    RowSums,
    Workspace,
)
from attnviz.attention.fused import FusedRows, RowTaker
from attnviz.attention.paths import Path, preferred_path
from attnviz.attention.softmax import exponentials, exponentials_with_gradient
from attnviz.attention.visibility import Visibility

__all__ = ["attend", "masked_scores"]


def masked_scores(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch key_head key dim"],
    *,
    scaling: float,
    softcap: float | None = None,
    bias: Float[Tensor, "#batch #head query key"] | None = None,
    out: Float[Tensor, " size"] | None = None,
) -> Float[Tensor, "batch head query key"]:
    """Scores before the mask, in float32.

    The product is taken and scaled in the model's own dtype, like the library's eager path, and
    only then widened. With grouped queries (fewer key heads than query heads) the queries of a
    group are stacked, so that keys are never copied.

    Args:
        query: of the rows.
        key: of the columns.
        scaling: factor of the dot product.
        softcap: bound of the scores, where the model has one.
        bias: added last.
        out: float32 memory to use again, at least as large as the scores.
    """
    batch, heads, rows, dim = query.shape
    groups, keys = key.shape[1], key.shape[2]
    stacked = query.reshape(batch * groups, heads // groups * rows, dim)
    columns = key.reshape(batch * groups, keys, dim).transpose(1, 2)
    if query.dtype == torch.float32:
        stacked = stacked * scaling  # a pass over the queries instead of one over the scores
        if out is not None:
            out = out[: batch * heads * rows * keys].view(batch * groups, -1, keys)
        scores = torch.bmm(stacked, columns, out=out)
    else:
        scores = torch.bmm(stacked, columns).mul_(scaling).float()
    scores = scores.view(batch, heads, rows, keys)
    if softcap is not None:
        scores = scores.div_(softcap).tanh_()
        # A tanh's gradient is made from its result, which must then stay as it is.
        scores = scores * softcap if scores.requires_grad else scores.mul_(softcap)
    return scores if bias is None else scores.add_(bias)


def attend(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch key_head key dim"],
    value: Float[Tensor, "batch key_head key value_dim"],
    visibility: Visibility,
    *,
    scaling: float,
    softcap: float | None = None,
    bias: Float[Tensor, "#batch #head query key"] | None = None,
    sinks: Float[Tensor, " head"] | None = None,
    observe: Callable[[Block], None] | None = None,
    shape: BlockShape | None = None,
    workspace: Workspace | None = None,
    path: Path | None = None,
) -> Float[Tensor, "batch query head value_dim"]:
    """The attention output, with `observe` shown every block of weights on the way.

    An observer that is a `RowTaker` may be handed all rows at once by the fused path instead.

    Args:
        query: after position rotation, as the model's own attention would get it.
        key: may have fewer heads than `query` (grouped queries).
        value: likewise.
        visibility: which keys each query sees. A query that sees none has output 0.
        scaling: factor of the dot product.
        softcap: scores are squashed to softcap * tanh(score / softcap) where the model does that.
        bias: added after scaling and squashing.
        sinks: a learned extra score per head that takes weight but carries no value; rows then
            sum to less than one.
        observe: called once per block, in order of queries.
        shape: of the blocks; what suits the device when None.
        workspace: memory to work in, for somebody who calls more than once.
        path: "blocks" or "fused"; when None, what `preferring` asks for where it can be had, or
            what is quicker on this device.

    Raises:
        ValueError: `path` is "fused" and the fused path cannot take this call.
    """
    tensors = (query, key, value)
    differentiable = torch.is_grad_enabled() and any(one.requires_grad for one in tensors)
    plain = softcap is None and bias is None and sinks is None and not differentiable
    if (path or preferred_path(query, key)) == "fused":
        rows = None
        if plain and isinstance(observe, RowTaker) and observe.takes_rows:
            rows = FusedRows.of(query, key, value, visibility, scaling)
        if rows is not None:
            observe.take(rows)
            return rows.output.transpose(1, 2)
        if path == "fused":
            raise ValueError(
                "the fused path takes float32 scores that are plain dot products, and an observer "
                "that takes whole rows; this call is another one"
            )
    batch, heads, queries, _ = query.shape
    key_heads, keys = key.shape[1:3]
    group = heads // key_heads  # query heads that share a key head
    if shape is None:
        sizes = GPU_SIZES if query.is_cuda else PROCESSOR_SIZES
        threads = torch.get_num_threads()
        shape = BlockShape.of(batch, heads, key_heads, keys, sizes=sizes, threads=threads)
    if differentiable:
        shape = replace(shape, heads=heads)
    workspace, space = workspace or Workspace(), None
    if not differentiable:  # the largest block's at once: causal blocks grow
        numbers = batch * shape.heads * min(shape.rows, queries) * keys
        space = workspace.take("scores", numbers, query.device)
        workspace.take("exponentials", numbers, query.device)
    # Every block reads them: rows that lie apart, as a model leaves them, are slow to multiply.
    key, value = key.contiguous(), value.contiguous()
    sums = RowSums.empty(batch, heads, queries, query.device)
    parts: list[Tensor] = []
    output = None if differentiable else value.new_empty(batch, queries, heads, value.shape[-1])
    for start in range(0, queries, shape.rows):
        end = min(start + shape.rows, queries)
        rows = slice(start, end)
        # Keys that no query of the block sees are never multiplied: half the work when causal.
        key_start, key_end = visibility.within(start, end)
        columns = slice(key_start, key_end)
        masked = [
            (slice(left - key_start, right - key_start), hidden)
            for left, right, hidden in visibility.hidden(start, end, key_start, key_end)
        ]
        for first in range(0, heads, shape.heads):
            own = slice(first, min(first + shape.heads, heads))
            shared = slice(own.start // group, -(-own.stop // group))
            scores = masked_scores(
                query[:, own, rows],
                key[:, shared, columns],
                scaling=scaling,
                softcap=softcap,
                bias=None if bias is None else _of_heads(bias, own)[:, :, rows, columns],
                out=space,
            )
            learned = None if sinks is None else sinks[own]
            if differentiable:
                made, found = exponentials_with_gradient(scores, learned, masked)
            else:
                made, found = exponentials(
                    scores,
                    learned,
                    masked,
                    observed=observe is not None,
                    workspace=workspace,
                    piece=shape.piece,
                )
            if observe is not None:
                sums.part(own, rows).fill(found)
                observe(Block(own, start, end, key_start, key_end, made.detach(), sums))
            used = value[:, shared, columns]
            mixed = torch.matmul(made.view(batch, used.shape[1], -1, made.shape[-1]).to(used), used)
            mixed = mixed.view(*made.shape[:3], -1).float() / found.total[..., None]
            if output is None:
                parts.append(mixed.to(value.dtype).transpose(1, 2))
            else:
                output[:, rows, own] = mixed.transpose(1, 2)
    return torch.cat(parts, 1) if output is None else output


def _of_heads(
    bias: Float[Tensor, "#batch #head query key"], heads: slice
) -> Float[Tensor, "#batch #head query key"]:
    """Some heads' bias, which may be the same for all."""
    return bias if bias.shape[1] == 1 else bias[:, heads]
