"""Softmax in two steps: exponentials of the scores, and the sums that divide them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnviz.attention.kernel.blocks import RowSums, Workspace

__all__ = ["HIDDEN", "HiddenKeys", "exponentials", "exponentials_with_gradient"]

HIDDEN = -1e30
"""Score of an invisible key. Finite, so that weight x score is 0 there and not NaN."""

HiddenKeys = tuple[slice, Bool[Tensor, "batch 1 query key"]]
"""A range of a block's keys, and the mask of those that are invisible."""

LOWEST = -75.0
"""Lower bound of score - highest score. The smallest normal number is exp(-87.3): a CPU takes up to
a hundred times as long for exp below it, rounded to 0 or not, and for products with such numbers.
The sum of a row is at least 1, and exp(-75) = 3e-33 is less than its rounding error."""


def exponentials(
    scores: Float[Tensor, "batch head query key"],
    sinks: Float[Tensor, " head"] | None,
    hidden: Sequence[HiddenKeys],
    *,
    observed: bool,
    workspace: Workspace,
    piece: int,
) -> tuple[Float[Tensor, "batch head query key"], RowSums]:
    """Return exp(score - highest) of every key, 0 where hidden, and the sums of each row.

    Every score is read or written seven times. All seven passes run over a few rows before the next
    rows, which keeps these in the CPU's cache: two thirds of the time for 12 heads of 2,048 tokens
    on two threads.

    Args:
        scores: contiguous; overwritten.
        sinks: one learned score per head, part of the denominator.
        hidden: invisible keys.
        observed: compute `RowSums.score_sum` too.
        workspace: buffers; the exponentials are returned in one of them.
        piece: number of scores that go through all passes together, at least one row.
    """
    _fill_hidden(scores, hidden, HIDDEN)
    batch, heads, rows, keys = scores.shape
    exps = workspace.take("exponentials", scores.numel(), scores.device).view(scores.shape)
    sums = RowSums.empty(batch, heads, rows, scores.device)
    highest, largest, mass, total, score_sum = (tensor.view(-1) for tensor in sums.tensors)
    sink = None if sinks is None else _per_row(sinks, scores).reshape(-1)  # (B*h*q,)
    step = max(piece // keys, 1)
    for start in range(0, batch * heads * rows, step):
        part = slice(start, start + step)
        s, e = scores.view(-1, keys)[part], exps.view(-1, keys)[part]  # (rows, k)
        top = highest[part]
        torch.amax(s, -1, out=top)
        if sink is not None:
            largest[part] = top
            torch.maximum(top, sink[part], out=top)
        s.sub_(top[:, None])
        if not scores.is_cuda:
            s.clamp_min_(LOWEST)
        torch.exp(s, out=e)
        torch.sum(e, -1, out=mass[part])
        if observed:
            # The product of two long rows would be summed with an error of 5e-6.
            torch.sum(s.mul_(e), -1, out=score_sum[part])
    # Until here hidden keys have exp(LOWEST), or exp(0) in a row without visible keys.
    _fill_hidden(exps, hidden, 0.0)
    if sink is None:
        empty = highest <= HIDDEN
        mass.masked_fill_(empty, 0.0)
        highest.masked_fill_(empty, 0.0)
        total.copy_(mass)
    else:
        largest -= highest
        total.copy_(mass + (sink - highest).exp())
    total.clamp_min_(torch.finfo(torch.float32).tiny)
    return exps, sums


def exponentials_with_gradient(
    scores: Float[Tensor, "batch head query key"],
    sinks: Float[Tensor, " head"] | None,
    hidden: Sequence[HiddenKeys],
) -> tuple[Float[Tensor, "batch head query key"], RowSums]:
    """Return the same as `exponentials`, differentiable and in new tensors."""
    _fill_hidden(scores, hidden, HIDDEN)
    # Weights do not depend on the number subtracted, so no gradient goes through it.
    largest = scores.detach().amax(-1)
    highest = largest.masked_fill(largest <= HIDDEN, 0.0)
    sink = None if sinks is None else _per_row(sinks, scores)
    if sink is not None:
        highest = highest.maximum(sink.detach())
    relative = scores - highest[..., None]
    exps = relative.exp()
    mass = exps.sum(-1)
    total = mass if sink is None else mass + (sink - highest).exp()
    total = total.clamp_min(torch.finfo(torch.float32).tiny)
    score_sum = (relative.detach() * exps.detach()).sum(-1)
    return exps, RowSums(highest, largest - highest, mass, total, score_sum)


def _fill_hidden(
    numbers: Float[Tensor, "batch head query key"], hidden: Sequence[HiddenKeys], value: float
) -> None:
    for keys, mask in hidden:
        numbers[..., keys].masked_fill_(mask, value)


def _per_row(
    sinks: Float[Tensor, " head"], scores: Float[Tensor, "batch head query key"]
) -> Float[Tensor, "batch head query"]:
    return sinks.float()[:, None].expand(scores.shape[:3])
