"""Which earlier positions of a text hold the same token: found once, used by every layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from attnviz.attention.blocks import Block

__all__ = ["TokenPairs"]

SPARSE_SHARE = 8  # up to one matching pair in eight, picking the pairs beats masking the block
PAIR_BYTES = 3 * 8  # text, row and key
LISTED_BYTES = 128 << 20
"""Of the list of all pairs, which is kept for all layers of a capture. The copies in 128,000 words
of a language would take 3.5 GB."""


class TokenPairs:
    """The copies in each text of a batch."""

    def __init__(self, ids: Int[Tensor, "batch position"]) -> None:
        self.ids = ids
        self._moved: tuple[tuple[int, ...], Tensor] | None = None

    @cached_property
    def _order(self) -> tuple[Int[Tensor, "batch position"], Int[Tensor, "batch position"]]:
        """The positions sorted by token, and how many copies lie before each of them."""
        order = self.ids.argsort(dim=-1, stable=True)
        ids = self.ids.gather(-1, order)
        place = torch.arange(ids.shape[-1], device=ids.device).expand_as(ids)
        begins = torch.ones_like(ids, dtype=torch.bool)
        begins[:, 1:] = ids[:, 1:] != ids[:, :-1]
        begin = torch.where(begins, place, 0).cummax(-1).values
        return order, place - begin

    @cached_property
    def some(self) -> Bool[Tensor, "batch position"]:
        """Which positions have a copy before them."""
        order, earlier = self._order
        return torch.zeros_like(self.ids, dtype=torch.bool).scatter_(-1, order, earlier > 0)

    @cached_property
    def count(self) -> int:
        """How many pairs of a position and an earlier copy there are."""
        return int(self._order[1].sum())

    @cached_property
    def listed(self) -> list[Int[Tensor, "3 pair"]]:
        """The (text, position, copy) of every position and every earlier copy, of each text."""
        found = []
        for text, (order, earlier) in enumerate(zip(*self._order, strict=True)):
            position = torch.arange(len(order), device=order.device)
            place = torch.empty_like(order).scatter_(0, order, position)
            earlier = earlier[place]
            later = position.repeat_interleave(earlier)
            # The copies of one position lie side by side in `order`, before itself.
            number = torch.arange(len(later), device=order.device) - earlier.cumsum(0)[later]
            copy = order[place[later] + number]
            found.append(torch.stack([torch.full_like(later, text), later, copy]))
        return found

    @cached_property
    def _by_position(self) -> tuple[Int[Tensor, "3 pair"], list[int]]:
        """The pairs of all texts by position; where those of each begin, and where the last end."""
        table = self.listed[0]
        if len(self.listed) > 1:
            table = torch.cat(self.listed, 1)
            table = table[:, table[1].argsort(stable=True)]
        counts = torch.bincount(table[1], minlength=self.ids.shape[-1])
        return table, [0, *counts.cumsum(0).tolist()]

    def flags(self, start: int, end: int) -> Bool[Tensor, "batch query key"]:
        """Whether key j < i holds the token of query i, for keys 0..end-1."""
        query = torch.arange(start, end, device=self.ids.device)
        key = torch.arange(end, device=self.ids.device)
        same = self.ids[:, start:end, None] == self.ids[:, None, :end]
        return same & (key < query[:, None])

    def block(self, start: int, end: int) -> Int[Tensor, "3 pair"] | None:
        """The (text, position, copy) of the pairs of a block of queries, if they are few.

        Where they are many only the flags would do, and those are made anew each time: all blocks
        together would be a table of n x n. In a very long text even few are many.
        """
        if self.count * PAIR_BYTES > LISTED_BYTES:
            return None
        table, begins = self._by_position
        pairs = table[:, begins[start] : begins[end]]
        few = pairs.shape[1] * SPARSE_SHARE <= self.ids.shape[0] * (end - start) * end
        return pairs if few else None

    def sums(
        self, block: Block, shifts: Sequence[int]
    ) -> list[Float[Tensor, "batch head query"]] | None:
        """Per row, the sum of the exponentials at copies of its token, moved by so many keys.

        Returns:
            A sum for each shift; None where no row of the block has a copy.
        """
        pairs = self.block(block.start, block.end)
        if pairs is None:
            return _sums_where(block, self._moved_flags(block, shifts))
        if not pairs.shape[1]:
            return None
        return _sums_at(block, pairs, shifts)

    def _moved_flags(
        self, block: Block, shifts: Sequence[int]
    ) -> Float[Tensor, "batch query key shift"]:
        """Ones at the block's keys that are copies, moved by each of the shifts.

        The blocks of a few heads each come one after the other with the same queries: they are made
        for the first of them.
        """
        asked = (block.start, block.end, block.key_start, block.key_end, *shifts)
        if self._moved is None or self._moved[0] != asked:
            same = self.flags(block.start, block.end)
            # Flags are for keys 0..end-1; the block's columns are key_start..key_end-1.
            behind = max(block.key_end - block.end, 0)
            keys = slice(block.key_start, block.key_end)
            moved = [pad(same, (shift, behind))[..., keys] for shift in shifts]
            self._moved = (asked, torch.stack(moved, -1).float())
        return self._moved[1]


def _sums_at(
    block: Block, pairs: Int[Tensor, "3 pair"], shifts: Sequence[int]
) -> list[Float[Tensor, "batch head query"]]:
    """Per row, the sum of the exponentials at listed keys, moved by each of the shifts."""
    exponentials = block.exponentials
    batch, heads, rows, keys = exponentials.shape
    text, position, copy = pairs
    row = position - block.start
    column = torch.stack([copy + (shift - block.key_start) for shift in shifts], -1)
    inside = (column >= 0) & (column < keys)  # a window leaves the keys before it out of the block
    place = (text[:, None], row[:, None], column.clamp(0, keys - 1))
    picked = exponentials.permute(0, 2, 3, 1)[place] * inside[..., None]
    total = exponentials.new_zeros(batch, rows, len(shifts), heads)
    total.index_put_((text, row), picked, accumulate=True)
    return list(total.permute(2, 0, 3, 1))


def _sums_where(
    block: Block, columns: Float[Tensor, "batch query key shift"]
) -> list[Float[Tensor, "batch head query"]]:
    """Per row, the sum of the exponentials at flagged keys, moved by each of the shifts.

    A product with columns of ones and zeros, one column for each: nothing is made that has as many
    numbers as the block.
    """
    rows = block.exponentials.transpose(1, 2)
    found = torch.stack([torch.bmm(*text) for text in zip(rows, columns, strict=True)])
    return list(found.transpose(1, 2).unbind(-1))
