"""Exact attention, a block of queries at a time, and what each block's rows tell.

A block of queries sees all of its keys at once, so every row gets an ordinary softmax and nothing
is approximate; yet no more than one block of weights exists at any time. The output is the layer's
output: what is shown is what the model used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.attention.masks import Visibility

__all__ = [
    "GPU_SCORE_BYTES",
    "SCORE_BYTES",
    "Block",
    "Normalizer",
    "attend",
    "block_rows",
    "masked_scores",
]

SCORE_BYTES = 8 << 20
"""Bytes of scores that exist at a time. Measured on two threads with 12 heads of 2,048 tokens: less
costs calls, and more no longer stays in a processor's cache."""

GPU_SCORE_BYTES = 256 << 20
"""The same on a GPU, where a block must be large enough to keep all its processors busy."""

HIDDEN = -1e30
"""The score of an invisible key. Finite, so that weight x score is 0 there and not NaN."""


@dataclass(frozen=True)
class Normalizer:
    """What turns a score into a weight: weight = exp(score - highest) / total.

    The two are kept apart: scores of models that do not scale them (T5) reach the hundreds, and
    exp(score - (highest + log total)) would lose four digits to the rounding of the sum.
    """

    highest: Float[Tensor, "*batch head query"]
    total: Float[Tensor, "*batch head query"]

    def map(self, change: Callable[[Tensor], Tensor]) -> Normalizer:
        """Both numbers changed alike."""
        return Normalizer(change(self.highest), change(self.total))


@dataclass(frozen=True)
class Block:
    """The finished rows of queries start..end over keys key_start..key_end.

    weight = exponentials / total. The division is left to whoever needs it: most do not need the
    weights one by one.

    Attributes:
        exponentials: exp(score - highest), float32; 0 at invisible keys. Its memory is used again
            for the next block.
        mass: the sum of each row's exponentials; `normalizer.total` without a learned sink.
        best: the largest exponential of each row: 1 without a learned sink.
        entropy: of each row, in nats.
    """

    start: int
    end: int
    key_start: int
    key_end: int
    exponentials: Float[Tensor, "batch head query key"]
    mass: Float[Tensor, "batch head query"]
    best: Float[Tensor, "batch head query"]
    normalizer: Normalizer
    entropy: Float[Tensor, "batch head query"]


def block_rows(batch: int, heads: int, keys: int, score_bytes: int = SCORE_BYTES) -> int:
    """How many queries fit into a block."""
    return max(8, score_bytes // (4 * batch * heads * max(keys, 1)))


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
        place = None if out is None else _view(out, batch * groups, stacked.shape[1], keys)
        scores = torch.bmm(stacked, columns, out=place) if place is not None else (
            torch.bmm(stacked, columns)
        )  # fmt: skip
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
    score_bytes: int | None = None,
) -> Float[Tensor, "batch query head value_dim"]:
    """The attention output, with `observe` shown every block of weights on the way.

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
        score_bytes: how many bytes of scores may exist at a time; fit for the device when None.
    """
    batch, heads, queries, _ = query.shape
    groups, keys = key.shape[1], key.shape[2]
    if score_bytes is None:
        score_bytes = GPU_SCORE_BYTES if query.is_cuda else SCORE_BYTES
    rows = min(block_rows(batch, heads, keys, score_bytes), queries)
    first, stop = visibility.extent
    differentiable = torch.is_grad_enabled() and any(
        tensor.requires_grad for tensor in (query, key, value)
    )
    # Fresh memory for every block would cost more than the sums done in it.
    memory = None if differentiable else query.new_empty(
        2, batch * heads * rows * keys, dtype=torch.float32
    )  # fmt: skip
    parts = []
    for start in range(0, queries, rows):
        end = min(start + rows, queries)
        # Keys that no query of the block sees are never multiplied: half the work when causal.
        key_start, key_end = min(first[start:end]), max(max(stop[start:end]), 1)
        scores = masked_scores(
            query[:, :, start:end],
            key[:, :, key_start:key_end],
            scaling=scaling,
            softcap=softcap,
            bias=None if bias is None else bias[:, :, start:end, key_start:key_end],
            out=None if memory is None else memory[0],
        )
        for left, right in visibility.ragged(start, end, key_start, key_end):
            hidden = ~visibility.table(start, end, left, right)[:, None]
            scores[..., left - key_start : right - key_start].masked_fill_(hidden, HIDDEN)
        # A row's weights do not depend on what is subtracted, so neither does their gradient.
        largest = scores.detach().amax(-1)
        highest = largest
        if sinks is not None:
            highest = torch.maximum(largest, sinks.detach().float()[None, :, None])
        relative = scores.sub_(highest[..., None])
        if memory is None:
            exponentials = relative.exp()
        else:
            exponentials = torch.exp(relative, out=_view(memory[1], *relative.shape))
        if visibility.has_blind_rows:  # their highest score is HIDDEN, and exp(0) is not 0
            hidden = ~visibility.table(start, end, key_start, key_end)[:, None]
            exponentials = exponentials.masked_fill(hidden, 0.0)
        mass = exponentials.sum(-1)
        total = mass
        if sinks is not None:
            total = mass + (sinks.float()[None, :, None] - highest).exp()
        total = total.clamp_min(torch.finfo(torch.float32).tiny)
        if observe is not None:
            # -sum p ln p with p = e / total and ln p = relative - ln total
            surprise = torch.einsum("bhrk,bhrk->bhr", relative.detach(), exponentials.detach())
            entropy = (mass * total.log() - surprise) / total
            observe(
                Block(
                    start,
                    end,
                    key_start,
                    key_end,
                    exponentials.detach(),
                    mass.detach(),
                    (largest - highest).exp(),
                    Normalizer(highest, total.detach()),
                    entropy.detach().clamp_min(0.0),
                )
            )
        stacked = exponentials.view(batch, groups, -1, key_end - key_start).to(value.dtype)
        mixed = torch.matmul(stacked, value[:, :, key_start:key_end])
        mixed = mixed.view(batch, heads, end - start, -1).float() / total[..., None]
        parts.append(mixed.to(value.dtype).transpose(1, 2))
    return torch.cat(parts, 1)


def _view(memory: Float[Tensor, " size"], *shape: int) -> Tensor:
    """The beginning of a stretch of memory in a shape."""
    return memory[: math.prod(shape)].view(shape)
