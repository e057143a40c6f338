"""Which earlier positions of a text hold the same token: found once, used by every layer."""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnviz.attention.kernel import Block

__all__ = ["TokenPairs"]

SPARSE_SHARE = 8  # up to one matching pair in eight, picking the pairs beats masking the block


class TokenPairs:
    """The copies in each text of a batch."""

    def __init__(self, ids: Int[Tensor, "batch position"]) -> None:
        self.ids = ids
        self._pairs: dict[tuple[int, int], Tensor | None] = {}

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
    def listed(self) -> list[tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]]]:
        """Every position with every earlier copy, (positions, copies) of each text."""
        found = []
        for order, earlier in zip(*self._order, strict=True):
            later = order.repeat_interleave(earlier)
            place = torch.arange(len(order), device=order.device)
            begin = (place - earlier).repeat_interleave(earlier)
            before = (earlier.cumsum(0) - earlier).repeat_interleave(earlier)
            number = torch.arange(len(later), device=order.device) - before
            found.append((later, order[begin + number]))
        return found

    def flags(self, start: int, end: int) -> Bool[Tensor, "batch query key"]:
        """Whether key j < i holds the token of query i, for keys 0..end-1."""
        query = torch.arange(start, end, device=self.ids.device)
        key = torch.arange(end, device=self.ids.device)
        same = self.ids[:, start:end, None] == self.ids[:, None, :end]
        return same & (key < query[:, None])

    def block(self, start: int, end: int) -> Int[Tensor, "3 pair"] | None:
        """The (text, row, key) of each pair of a block of queries, if they are few.

        Where they are many only the flags would do, and those are made anew each time: all blocks
        together would be a table of n x n.
        """
        if (start, end) not in self._pairs:
            same = self.flags(start, end)
            pairs = same.nonzero()
            few = pairs.shape[0] * SPARSE_SHARE <= same.numel()
            self._pairs[start, end] = pairs.T.contiguous() if few else None
        return self._pairs[start, end]

    def sums(self, block: Block, shift: int) -> Float[Tensor, "batch head query"] | None:
        """Per row, the sum of the exponentials at copies of its token, moved by `shift` keys.

        None where no row of the block has a copy.
        """
        pairs = self.block(block.start, block.end)
        if pairs is None:
            return _sum_where(block, self.flags(block.start, block.end), shift)
        return _sum_at(block, pairs, shift) if pairs.shape[1] else None


def _sum_at(
    block: Block, pairs: Int[Tensor, "3 pair"], shift: int
) -> Float[Tensor, "batch head query"]:
    """Per row, the sum of the exponentials at listed keys (moved by `shift`)."""
    exponentials = block.exponentials
    batch, heads, rows, keys = exponentials.shape
    text, row, key = pairs
    column = key + shift - block.key_start
    inside = (column >= 0) & (column < keys)  # a window leaves the keys before it out of the block
    picked = exponentials.permute(0, 2, 3, 1)[text, row, column.clamp(0, keys - 1)]
    total = exponentials.new_zeros(batch, rows, heads)
    total.index_put_((text, row), picked * inside[:, None], accumulate=True)
    return total.transpose(1, 2)


def _sum_where(
    block: Block, same: Bool[Tensor, "batch query key"], shift: int
) -> Float[Tensor, "batch head query"]:
    """Per row, the sum of the exponentials at flagged keys (moved by `shift`)."""
    # Flags are for keys 0..end-1; the block's columns are key_start..key_end-1.
    flags = torch.nn.functional.pad(same, (shift, max(block.key_end - block.end, 0)))
    flags = flags[..., block.key_start : block.key_end]
    return (block.exponentials[..., : flags.shape[-1]] * flags[:, None]).sum(-1)
