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

from attnviz.attention.fused import FusedRows, RowTaker
from attnviz.attention.paths import Path, preferred_path
from attnviz.attention.visibility import Visibility

__all__ = [
    "GPU_SCORE_BYTES",
    "SCORE_BYTES",
    "Block",
    "Normalizer",
    "RowSums",
    "attend",
    "block_rows",
    "masked_scores",
]

SCORE_BYTES = (8 << 20, 32 << 20)
"""Bytes of scores that exist at a time; up to the second where fewer than `GOOD_ROWS` rows fit.
Measured on two threads with 12 heads of 2,048 tokens: less costs calls, and more no longer stays in
a processor's cache."""

GPU_SCORE_BYTES = (256 << 20, 256 << 20)
"""The same on a GPU, where a block must be large enough to keep all its processors busy."""

GOOD_ROWS = 64
"""A product with fewer rows waits for its keys: 12 heads of 8,192 tokens take 1.12 s in blocks of
21 rows, and 0.89 s in blocks of 64."""

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
class RowSums:
    """What one call knows of each of its rows; blocks fill it in, in order of queries.

    Attributes:
        highest: what was taken off a row's scores before exp: the largest, or the sink's if larger.
        largest: the largest score of each row, less `highest`: 0 without a learned sink.
        mass: the sum of each row's exponentials.
        total: what they are divided by: `mass`, and a learned sink's exponential.
        surprise: the sum of exponential x (score - highest).
    """

    highest: Float[Tensor, "batch head query"]
    largest: Float[Tensor, "batch head query"]
    mass: Float[Tensor, "batch head query"]
    total: Float[Tensor, "batch head query"]
    surprise: Float[Tensor, "batch head query"]

    @classmethod
    def empty(cls, batch: int, heads: int, queries: int, device: torch.device) -> RowSums:
        """Room for this many rows, not filled in yet."""
        return cls(*torch.zeros(5, batch, heads, queries, device=device).unbind(0))

    def rows(self, start: int, end: int) -> RowSums:
        """The same memory for queries start..end alone."""
        parts = (self.highest, self.largest, self.mass, self.total, self.surprise)
        return RowSums(*(part[:, :, start:end] for part in parts))

    @property
    def entropy(self) -> Float[Tensor, "batch head query"]:
        """Of each row, nats: -sum p ln p with p = e / total, ln p = score - highest - ln total."""
        return ((self.mass * self.total.log() - self.surprise) / self.total).clamp_min(0.0)

    @property
    def max_weight(self) -> Float[Tensor, "batch head query"]:
        """The largest weight of each row; 0 where nothing is seen."""
        return self.largest.exp() * (self.mass > 0) / self.total


@dataclass(frozen=True)
class Block:
    """The finished rows of queries start..end over keys key_start..key_end.

    weight = exponentials / own.total. The division is left to whoever needs it: most do not need
    the weights one by one.

    Attributes:
        exponentials: exp(score - highest), float32; 0 at invisible keys. Its memory is used again
            for the next block.
        sums: of all rows of the call; those of later blocks are not there yet.
    """

    start: int
    end: int
    key_start: int
    key_end: int
    exponentials: Float[Tensor, "batch head query key"]
    sums: RowSums

    @property
    def own(self) -> RowSums:
        """The sums of this block's rows."""
        return self.sums.rows(self.start, self.end)


def block_rows(
    batch: int, heads: int, keys: int, score_bytes: tuple[int, int] = SCORE_BYTES
) -> int:
    """How many queries a block has: those that fit, or as near `GOOD_ROWS` as may be."""
    row = 4 * batch * heads * max(keys, 1)
    return max(8, score_bytes[0] // row, min(GOOD_ROWS, score_bytes[1] // row))


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
        score_bytes: how many bytes of scores may exist at a time, but for blocks of eight rows; fit
            for the device when None.
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
    groups, keys = key.shape[1], key.shape[2]
    budget = GPU_SCORE_BYTES if query.is_cuda else SCORE_BYTES
    if score_bytes is not None:
        budget = score_bytes, score_bytes
    height = min(block_rows(batch, heads, keys, budget), queries)
    # Every block reads them: rows that lie apart, as a model leaves them, are slow to multiply.
    key, value = key.contiguous(), value.contiguous()
    # Fresh memory for every block would cost more than the sums done in it.
    memory = None if differentiable else query.new_empty(
        2, batch * heads * height * keys, dtype=torch.float32
    )  # fmt: skip
    sums = RowSums.empty(batch, heads, queries, query.device)
    parts: list[Tensor] = []
    output = None if differentiable else value.new_empty(batch, queries, heads, value.shape[-1])
    for start in range(0, queries, height):
        end = min(start + height, queries)
        # Keys that no query of the block sees are never multiplied: half the work when causal.
        key_start, key_end = visibility.within(start, end)
        scores = masked_scores(
            query[:, :, start:end],
            key[:, :, key_start:key_end],
            scaling=scaling,
            softcap=softcap,
            bias=None if bias is None else bias[:, :, start:end, key_start:key_end],
            out=None if memory is None else memory[0],
        )
        for left, right, hidden in visibility.hidden(start, end, key_start, key_end):
            scores[..., left - key_start : right - key_start].masked_fill_(hidden, HIDDEN)
        # A row's weights do not depend on what is subtracted, so neither does their gradient.
        highest = scores.detach().amax(-1)
        if sinks is not None:
            largest, highest = highest, highest.maximum(sinks.detach().float()[None, :, None])
            sums.largest[:, :, start:end] = largest - highest
        relative = scores.sub_(highest[..., None])
        if memory is None:
            exponentials = relative.exp()
        else:
            exponentials = torch.exp(relative, out=_view(memory[1], *relative.shape))
        if visibility.has_blind_rows:  # their highest score is HIDDEN, and exp(0) is not 0
            blind = ~visibility.table(start, end, key_start, key_end)[:, None]
            exponentials = exponentials.masked_fill(blind, 0.0)
        mass = exponentials.sum(-1)
        total = mass if sinks is None else mass + (sinks.float()[None, :, None] - highest).exp()
        total = total.clamp_min(torch.finfo(torch.float32).tiny)
        if observe is not None:
            seen = exponentials.detach()
            part = sums.rows(start, end)
            part.highest.copy_(highest)
            part.mass.copy_(mass.detach())
            part.total.copy_(total.detach())
            # In place where nobody needs the scores any more: not one product of two long rows,
            # whose sum would be right to 5e-6 only.
            products = relative.mul_(seen) if memory is not None else relative.detach() * seen
            part.surprise.copy_(products.sum(-1))
            observe(Block(start, end, key_start, key_end, seen, sums))
        stacked = exponentials.view(batch, groups, -1, key_end - key_start).to(value.dtype)
        mixed = torch.matmul(stacked, value[:, :, key_start:key_end])
        mixed = mixed.view(batch, heads, end - start, -1).float() / total[..., None]
        if output is None:
            parts.append(mixed.to(value.dtype).transpose(1, 2))
        else:
            output[:, start:end] = mixed.transpose(1, 2)
    return torch.cat(parts, 1) if output is None else output


def _view(memory: Float[Tensor, " size"], *shape: int) -> Tensor:
    """The beginning of a stretch of memory in a shape."""
    return memory[: math.prod(shape)].view(shape)
