"""Attention scores before the mask, and the terms that a model adds to the dot product."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["ScoreTerms", "attention_scores"]


@dataclass(frozen=True)
class ScoreTerms:
    """Terms of a score besides the query and key vectors.

        score = cap(scaling * q.k) + bias        cap(s) = softcap * tanh(s / softcap)

    Attributes:
        scaling: factor of the dot product.
        softcap: bound of the scaled dot product (Gemma 2); None without a bound.
        bias: added last (T5's relative positions); None without a bias.
        sinks: one learned score per head that is part of the softmax denominator and has no value
            vector, so that rows sum to less than one (gpt-oss); None without sinks.
    """

    scaling: float
    softcap: float | None = None
    bias: Float[Tensor, "#batch #head query key"] | None = None
    sinks: Float[Tensor, " head"] | None = None

    def part(self, heads: slice, queries: slice, keys: slice) -> ScoreTerms:
        """Return the terms of a block of heads, queries and keys; tensors are views."""
        bias, sinks = self.bias, self.sinks
        if bias is not None:
            bias = (bias if bias.shape[1] == 1 else bias[:, heads])[:, :, queries, keys]
        return replace(self, bias=bias, sinks=None if sinks is None else sinks[heads])


def attention_scores(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch key_head key dim"],
    terms: ScoreTerms,
    *,
    out: Float[Tensor, " size"] | None = None,
) -> Float[Tensor, "batch head query key"]:
    """Return the scores of all pairs of a query and a key before the mask, in float32.

    The product is computed and scaled in the model's dtype, as in the library's eager path, and
    converted to float32 afterwards. With grouped queries (fewer key heads than query heads) the
    queries of a group are stacked, so that keys are not copied.

    Args:
        query: query vectors.
        key: key vectors.
        terms: scaling, softcap and bias; sinks are not used here.
        out: float32 buffer of at least as many numbers as there are scores. Used for float32
            inputs; a new tensor is made when None.
    """
    batch, heads, rows, dim = query.shape
    groups, keys = key.shape[1], key.shape[2]
    q = query.reshape(batch * groups, heads // groups * rows, dim)  # (B*g, h/g*q, d)
    k = key.reshape(batch * groups, keys, dim).transpose(1, 2)  # (B*g, d, k)
    if query.dtype == torch.float32:
        q = q * terms.scaling  # fewer numbers to multiply than the scores
        if out is not None:
            out = out[: batch * heads * rows * keys].view(batch * groups, -1, keys)
        scores = torch.bmm(q, k, out=out)
    else:
        scores = torch.bmm(q, k).mul_(terms.scaling).float()
    scores = scores.view(batch, heads, rows, keys)
    if terms.softcap is not None:
        scores = scores.div_(terms.softcap).tanh_()
        # The gradient of tanh is computed from its result: no change in place after it.
        in_place = not scores.requires_grad
        scores = scores.mul_(terms.softcap) if in_place else scores * terms.softcap
    return scores if terms.bias is None else scores.add_(terms.bias)
