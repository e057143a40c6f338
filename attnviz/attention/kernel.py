"""Exact attention, a block of queries at a time, and what each block's rows tell.

A block of queries sees all of its keys at once, so every row gets an ordinary softmax and nothing
is approximate; yet no more than one block of weights exists at any time. The output is the layer's
output: what is shown is what the model used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnviz.attention.masks import Visibility

__all__ = ["SCORE_BYTES", "Block", "Normalizer", "attend", "block_rows", "masked_scores"]

SCORE_BYTES = 8 << 20
"""Bytes of scores that exist at a time: about what stays in a processor's cache."""

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


@dataclass(frozen=True)
class Block:
    """The finished rows of queries start..end over keys key_start..key_end.

    Attributes:
        exponentials: exp(score - highest), float32; 0 at invisible keys.
        entropy: of each row, in nats.
        best: position (from key 0) of the highest score of each row.
    """

    start: int
    end: int
    key_start: int
    key_end: int
    exponentials: Float[Tensor, "batch head query key"]
    normalizer: Normalizer
    entropy: Float[Tensor, "batch head query"]
    best: Int[Tensor, "batch head query"]


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
    hidden: Tensor | None = None,
) -> Float[Tensor, "batch head query key"]:
    """Scores as the softmax gets them, in float32, `HIDDEN` where a key is invisible.

    The product is taken in the model's own dtype, like the library's eager path, and only then
    widened. With grouped queries (fewer key heads than query heads) the queries of a group are
    stacked, so that keys are never copied.
    """
    batch, heads, rows, dim = query.shape
    groups, keys = key.shape[1:3]
    stacked = query.reshape(batch, groups, heads // groups * rows, dim)
    scores = torch.matmul(stacked, key.transpose(-1, -2)).view(batch, heads, rows, keys).float()
    scores = scores.mul_(scaling)
    if softcap is not None:
        scores = torch.tanh_(scores.div_(softcap)).mul_(softcap)
    if bias is not None:
        scores = scores.add_(bias)
    if hidden is not None:
        scores = scores.masked_fill_(hidden, HIDDEN)
    return scores


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
    score_bytes: int = SCORE_BYTES,
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
        score_bytes: how many bytes of scores may exist at a time.
    """
    batch, heads, queries, _ = query.shape
    groups, keys = key.shape[1], key.shape[2]
    rows = block_rows(batch, heads, keys, score_bytes)
    first, stop = visibility.extent
    output = value.new_empty(batch, queries, heads, value.shape[-1])
    for start in range(0, queries, rows):
        end = min(start + rows, queries)
        # Keys that no query of the block sees are never multiplied: half the work when causal.
        key_start, key_end = min(first[start:end]), max(max(stop[start:end]), 1)
        hidden = None
        if not visibility.is_full:
            hidden = ~visibility.table(start, end, key_start, key_end)[:, None]
        scores = masked_scores(
            query[:, :, start:end],
            key[:, :, key_start:key_end],
            scaling=scaling,
            softcap=softcap,
            bias=None if bias is None else bias[:, :, start:end, key_start:key_end],
            hidden=hidden,
        )
        highest, best = scores.max(-1)
        if sinks is not None:
            highest = torch.maximum(highest, sinks.float()[None, :, None])
        relative = scores.sub_(highest[..., None])
        exponentials = relative.exp()
        if hidden is not None:  # a row that sees nothing has highest = HIDDEN: exp(0), not 0
            exponentials = exponentials.masked_fill_(hidden, 0.0)
        mass = exponentials.sum(-1)
        total = mass
        if sinks is not None:
            total = mass + (sinks.float()[None, :, None] - highest).exp()
        total = total.clamp_min(torch.finfo(torch.float32).tiny)
        if observe is not None:
            # -sum p ln p with p = e / total and ln p = relative - ln total
            surprise = relative.mul_(exponentials).sum(-1)
            entropy = (mass * total.log() - surprise) / total
            observe(
                Block(
                    start,
                    end,
                    key_start,
                    key_end,
                    exponentials,
                    Normalizer(highest, total),
                    entropy.clamp_min(0.0),
                    best + key_start,
                )
            )
        stacked = exponentials.view(batch, groups, -1, key_end - key_start).to(value.dtype)
        mixed = torch.matmul(stacked, value[:, :, key_start:key_end])
        mixed = mixed.view(batch, heads, end - start, -1).float() / total[..., None]
        output[:, start:end] = mixed.to(value.dtype).transpose(1, 2)
    return output
