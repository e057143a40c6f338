"""Pairs of equal tokens in a text, computed once for all layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from attnviz.attention.kernel.blocks import Block

__all__ = ["TokenPairs"]

SPARSE_SHARE = 8  # up to one pair in eight, gathering weights is faster than masking the block
PAIR_BYTES = 3 * 8  # text, position, copy
LISTED_BYTES = 128 << 20
"""Limit of the list of all pairs, which is kept for all layers of a capture. The pairs of 128,000
words of natural language would take 3.5 GB."""


class TokenPairs:
    """Pairs of a position and an earlier position with the same token id, for a batch of texts."""

    def __init__(self, ids: Int[Tensor, "batch position"]) -> None:
        self.ids = ids
        self._flags: tuple[tuple[int, ...], Tensor] | None = None

    @cached_property
    def _order(self) -> tuple[Int[Tensor, "batch position"], Int[Tensor, "batch position"]]:
        """Positions sorted by token id, and the number of earlier copies of each."""
        order = self.ids.argsort(dim=-1, stable=True)
        ids = self.ids.gather(-1, order)
        rank = torch.arange(ids.shape[-1], device=ids.device).expand_as(ids)
        is_first = torch.ones_like(ids, dtype=torch.bool)
        is_first[:, 1:] = ids[:, 1:] != ids[:, :-1]
        first = torch.where(is_first, rank, 0).cummax(-1).values
        return order, rank - first

    @cached_property
    def has_earlier_copy(self) -> Bool[Tensor, "batch position"]:
        """Mask of the positions whose token occurred before."""
        order, earlier = self._order
        return torch.zeros_like(self.ids, dtype=torch.bool).scatter_(-1, order, earlier > 0)

    @cached_property
    def count(self) -> int:
        """Number of pairs in all texts."""
        return int(self._order[1].sum())

    @cached_property
    def listed(self) -> list[Int[Tensor, "3 pair"]]:
        """List the (text, position, copy) of every pair, text by text."""
        pairs = []
        for text, (order, earlier) in enumerate(zip(*self._order, strict=True)):
            position = torch.arange(len(order), device=order.device)
            rank = torch.empty_like(order).scatter_(0, order, position)
            earlier = earlier[rank]
            later = position.repeat_interleave(earlier)
            # The earlier copies of a position are consecutive in `order`, right before it.
            number = torch.arange(len(later), device=order.device) - earlier.cumsum(0)[later]
            copy = order[rank[later] + number]
            pairs.append(torch.stack([torch.full_like(later, text), later, copy]))
        return pairs

    @cached_property
    def _by_position(self) -> tuple[Int[Tensor, "3 pair"], list[int]]:
        """Pairs of all texts by position; index of each position's first pair, and the end."""
        table = self.listed[0]
        if len(self.listed) > 1:
            table = torch.cat(self.listed, 1)
            table = table[:, table[1].argsort(stable=True)]
        counts = torch.bincount(table[1], minlength=self.ids.shape[-1])
        return table, [0, *counts.cumsum(0).tolist()]

    def flags(self, start: int, end: int) -> Bool[Tensor, "batch query key"]:
        """Return the mask of the pairs of queries start..end-1 with keys 0..end-1."""
        query = torch.arange(start, end, device=self.ids.device)
        key = torch.arange(end, device=self.ids.device)
        same = self.ids[:, start:end, None] == self.ids[:, None, :end]
        return same & (key < query[:, None])

    def block(self, start: int, end: int) -> Int[Tensor, "3 pair"] | None:
        """Return the (text, position, copy) of the pairs of queries start..end-1.

        None if they are too many to be gathered (`SPARSE_SHARE`) or listed (`LISTED_BYTES`): use
        `flags` then. Flags are not cached: those of all blocks would be a table of n x n.
        """
        if self.count * PAIR_BYTES > LISTED_BYTES:
            return None
        table, first = self._by_position
        pairs = table[:, first[start] : first[end]]
        few = pairs.shape[1] * SPARSE_SHARE <= self.ids.shape[0] * (end - start) * end
        return pairs if few else None

    def sums(
        self, block: Block, shifts: Sequence[int]
    ) -> list[Float[Tensor, "batch head query"]] | None:
        """Sum the exponentials of each row at the keys copy + shift, for each shift.

        Returns:
            One tensor per shift; None if no row of the block has an earlier copy.
        """
        pairs = self.block(block.start, block.end)
        if pairs is None:
            return _flagged_sums(block, self._shifted_flags(block, shifts))
        if not pairs.shape[1]:
            return None
        return _gathered_sums(block, pairs, shifts)

    def _shifted_flags(
        self, block: Block, shifts: Sequence[int]
    ) -> Float[Tensor, "batch query key shift"]:
        """Return 1 at the keys copy + shift of the block, 0 elsewhere.

        Cached for the last queries: blocks of the same queries follow each other, head by head.
        """
        cache_key = (block.start, block.end, block.key_start, block.key_end, *shifts)
        if self._flags is None or self._flags[0] != cache_key:
            same = self.flags(block.start, block.end)
            # Flags are for keys 0..end-1; the block's columns are key_start..key_end-1.
            after = max(block.key_end - block.end, 0)
            keys = slice(block.key_start, block.key_end)
            shifted = [pad(same, (shift, after))[..., keys] for shift in shifts]
            self._flags = (cache_key, torch.stack(shifted, -1).float())
        return self._flags[1]


def _gathered_sums(
    block: Block, pairs: Int[Tensor, "3 pair"], shifts: Sequence[int]
) -> list[Float[Tensor, "batch head query"]]:
    """Sum the exponentials of each row at listed keys, for each shift."""
    exps = block.exponentials
    batch, heads, rows, keys = exps.shape
    text, position, copy = pairs
    row = position - block.start
    column = torch.stack([copy + (shift - block.key_start) for shift in shifts], -1)
    inside = (column >= 0) & (column < keys)  # keys before a window are not in the block
    index = (text[:, None], row[:, None], column.clamp(0, keys - 1))
    terms = exps.permute(0, 2, 3, 1)[index] * inside[..., None]  # (pair, shift, h)
    sums = exps.new_zeros(batch, rows, len(shifts), heads)
    sums.index_put_((text, row), terms, accumulate=True)
    return list(sums.permute(2, 0, 3, 1))


def _flagged_sums(
    block: Block, columns: Float[Tensor, "batch query key shift"]
) -> list[Float[Tensor, "batch head query"]]:
    """Sum the exponentials of each row at flagged keys, for each shift.

    A matrix product with one column of ones and zeros per shift: no tensor as large as the block.
    """
    exps = block.exponentials.transpose(1, 2)  # (B, q, h, k)
    sums = torch.stack([torch.bmm(*text) for text in zip(exps, columns, strict=True)])
    return list(sums.transpose(1, 2).unbind(-1))
