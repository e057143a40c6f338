"""From scores to exponentials, and to the few numbers that make weights of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnviz.attention.blocks import RowSums, Workspace

__all__ = ["HIDDEN", "Masked", "exponentials", "exponentials_with_gradient"]

HIDDEN = -1e30
"""The score of an invisible key. Finite, so that weight x score is 0 there and not NaN."""

Masked = tuple[slice, Bool[Tensor, "batch 1 query key"]]
"""A stretch of a block's keys, and which of them its queries do not see."""

FAINT = -75.0
"""What a score may lie below the highest. The smallest normal number is exp(-87.3): a processor
takes up to a hundred times as long for the exp of less, whether that rounds to 0 or not, and for
products with numbers near that. A row's total is at least 1, and beside it exp(-75), 3e-33, is
nothing."""


def exponentials(
    scores: Float[Tensor, "batch head query key"],
    sinks: Float[Tensor, " head"] | None,
    masked: Sequence[Masked],
    *,
    observed: bool,
    workspace: Workspace,
    piece: int,
) -> tuple[Float[Tensor, "batch head query key"], RowSums]:
    """Of each row: exp(score - highest), and their sums.

    Seven passes are made over every score. A few rows at a time go through all of them, and are
    still in the processor's cache when the next one needs them: two thirds of the time for 12 heads
    of 2,048 tokens on two threads.

    Args:
        scores: one after the other in memory. They are lost.
        sinks: a learned score per head, which takes weight.
        masked: which of their keys are not seen.
        observed: whether the surprise is wanted, too.
        workspace: where the exponentials are put.
        piece: how many scores go through all passes at a time, if a row has no more.
    """
    _hide(scores, masked, HIDDEN)
    batch, heads, rows, keys = scores.shape
    found = workspace.take("exponentials", scores.numel(), scores.device).view(scores.shape)
    sums = RowSums.empty(batch, heads, rows, scores.device)
    highest, largest, mass, total, surprise = (one.view(-1) for one in sums.each)
    extra = None if sinks is None else _per_row(sinks, scores).reshape(-1)
    step = max(piece // keys, 1)
    for start in range(0, batch * heads * rows, step):
        part = slice(start, start + step)
        row, made, top = scores.view(-1, keys)[part], found.view(-1, keys)[part], highest[part]
        torch.amax(row, -1, out=top)
        if extra is not None:
            largest[part] = top
            torch.maximum(top, extra[part], out=top)
        row.sub_(top[:, None])
        if not scores.is_cuda:
            row.clamp_min_(FAINT)
        torch.exp(row, out=made)
        torch.sum(made, -1, out=mass[part])
        if observed:
            # Not one product of two long rows, whose sum would be right to 5e-6 only.
            torch.sum(row.mul_(made), -1, out=surprise[part])
    # Before this, hidden keys have exp(FAINT), or all have exp(0) in a row that sees none.
    _hide(found, masked, 0.0)
    if extra is None:
        blind = highest <= HIDDEN
        mass.masked_fill_(blind, 0.0)
        highest.masked_fill_(blind, 0.0)
        total.copy_(mass)
    else:
        largest -= highest
        total.copy_(mass + (extra - highest).exp())
    total.clamp_min_(torch.finfo(torch.float32).tiny)
    return found, sums


def exponentials_with_gradient(
    scores: Float[Tensor, "batch head query key"],
    sinks: Float[Tensor, " head"] | None,
    masked: Sequence[Masked],
) -> tuple[Float[Tensor, "batch head query key"], RowSums]:
    """The same in memory of their own, which a gradient goes through."""
    _hide(scores, masked, HIDDEN)
    # A row's weights do not depend on what is subtracted, so neither does their gradient.
    largest = scores.detach().amax(-1)
    highest = largest.masked_fill(largest <= HIDDEN, 0.0)
    extra = None if sinks is None else _per_row(sinks, scores)
    if extra is not None:
        highest = highest.maximum(extra.detach())
    relative = scores - highest[..., None]
    found = relative.exp()
    mass = found.sum(-1)
    total = mass if extra is None else mass + (extra - highest).exp()
    total = total.clamp_min(torch.finfo(torch.float32).tiny)
    surprise = (relative.detach() * found.detach()).sum(-1)
    return found, RowSums(highest, largest - highest, mass, total, surprise)


def _hide(
    numbers: Float[Tensor, "batch head query key"], masked: Sequence[Masked], value: float
) -> None:
    for stretch, hidden in masked:
        numbers[..., stretch].masked_fill_(hidden, value)


def _per_row(
    sinks: Float[Tensor, " head"], scores: Float[Tensor, "batch head query key"]
) -> Float[Tensor, "batch head query"]:
    return sinks.float()[:, None].expand(scores.shape[:3])
