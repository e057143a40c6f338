"""What is kept of every row of weights while the attention runs: a few numbers, never the row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnviz.attention.kernel import Block
from attnviz.attention.masks import Visibility

__all__ = ["RowObserver", "RowStatistics", "TokenPairs"]

ROW_NAMES = (
    *("entropy", "max_weight", "mass", "first", "itself", "previous", "next"),
    *("duplicate", "induction", "distance"),
)
SPARSE_SHARE = 8  # up to one matching pair in eight, picking the pairs beats masking the block


@dataclass(frozen=True)
class RowStatistics:
    """Numbers per query of one layer (with a leading batch axis while recording).

    NaN means "does not exist for this query": the first query has no previous token.

    Attributes:
        entropy: -sum p ln p, nats.
        max_weight: the largest weight.
        mass: the sum of the weights: 1, or less with a learned sink.
        first: weight on key 0.
        itself: weight on the query's own position.
        previous: weight on the position before.
        next: weight on the position after.
        duplicate: weight on earlier copies of the query's token.
        induction: weight on the tokens that followed earlier copies of the query's token.
        distance: expected |query position - key position|, tokens.
        key_mass: sum of the weights each key gets over all queries, padding left out.
    """

    entropy: Float[np.ndarray, "*batch head query"]
    max_weight: Float[np.ndarray, "*batch head query"]
    mass: Float[np.ndarray, "*batch head query"]
    first: Float[np.ndarray, "*batch head query"]
    itself: Float[np.ndarray, "*batch head query"]
    previous: Float[np.ndarray, "*batch head query"]
    next: Float[np.ndarray, "*batch head query"]
    duplicate: Float[np.ndarray, "*batch head query"]
    induction: Float[np.ndarray, "*batch head query"]
    distance: Float[np.ndarray, "*batch head query"]
    key_mass: Float[np.ndarray, "*batch head key"]


class TokenPairs:
    """Which earlier positions hold the same token: found once per text, used by every layer."""

    def __init__(self, ids: Int[Tensor, "batch position"]) -> None:
        self.ids = ids
        self._pairs: dict[tuple[int, int], tuple[Tensor, Tensor | None]] = {}

    def flags(self, start: int, end: int) -> Bool[Tensor, "batch query key"]:
        """Whether key j < i holds the token of query i, for keys 0..end-1."""
        query = torch.arange(start, end, device=self.ids.device)
        key = torch.arange(end, device=self.ids.device)
        same = self.ids[:, start:end, None] == self.ids[:, None, :end]
        return same & (key < query[:, None])

    def block(
        self, start: int, end: int
    ) -> tuple[Bool[Tensor, "batch query"], Int[Tensor, "3 pair"] | None]:
        """Which queries have a copy before them, and the (text, row, key) of each if they are few.

        Where they are many only the flags would do, and those are made anew each time: all blocks
        together would be a table of n x n.
        """
        if (start, end) not in self._pairs:
            same = self.flags(start, end)
            pairs = same.nonzero()
            few = pairs.shape[0] * SPARSE_SHARE <= same.numel()
            self._pairs[start, end] = (same.any(-1), pairs.T.contiguous() if few else None)
        return self._pairs[start, end]


class RowObserver:
    """Collects the statistics of one layer, block by block."""

    def __init__(
        self,
        batch: int,
        heads: int,
        queries: int,
        visibility: Visibility,
        pairs: TokenPairs | None,
        device: torch.device,
        real: Bool[Tensor, "batch query"] | None = None,
    ) -> None:
        shape = (batch, heads, queries)
        self.visibility = visibility
        self.pairs = pairs
        self.real = None if real is None else real.float()[:, None]
        self.rows = {
            name: torch.full(shape, torch.nan, device=device)
            for name in (*ROW_NAMES, "highest", "total")
        }
        self.key_mass = torch.zeros(batch, heads, visibility.n_keys, device=device)

    def __call__(self, block: Block) -> None:
        """Take what is needed from a finished block of rows."""
        rows = slice(block.start, block.end)
        share = 1.0 / block.normalizer.total  # of a row's weight, per exponential
        self.rows["highest"][:, :, rows] = block.normalizer.highest
        self.rows["total"][:, :, rows] = block.normalizer.total
        self.rows["entropy"][:, :, rows] = block.entropy
        self.rows["max_weight"][:, :, rows] = block.best * share
        self.rows["mass"][:, :, rows] = block.mass * share
        # Rows of padding exist while a batch runs, and give weight that is nobody's.
        giving = share if self.real is None else share * self.real[..., rows]
        received = torch.matmul(giving[:, :, None], block.exponentials)[:, :, 0]
        self.key_mass[:, :, block.key_start : block.key_end] += received
        query = torch.arange(block.start, block.end, device=share.device)
        if self.pairs is None:  # queries and keys are different texts: no "previous", no distance
            self._store_at(("first",), torch.zeros_like(query), block, share)
            return
        keys = torch.cat([torch.zeros_like(query), query, query - 1, query + 1])
        self._store_at(("first", "itself", "previous", "next"), keys, block, share)
        self.rows["distance"][:, :, rows] = _distance(block, query) * share
        self._store_copies(block, share)

    def _store_at(self, names: tuple[str, ...], key: Tensor, block: Block, share: Tensor) -> None:
        """The weights each query gives to some keys, by name; NaN where a key is invisible to it.

        One look-up for all names: on small blocks it is the calls that cost, not the numbers.

        Args:
            names: where the weights are kept.
            key: for each name in turn, one key per query of the block.
            block: whose rows.
            share: weight per exponential, per row.
        """
        rows = block.end - block.start
        row = torch.arange(rows, device=key.device).repeat(len(names))
        column = (key - block.key_start).clamp(0, block.key_end - block.key_start - 1)
        visible = self.visibility.sees(row + block.start, key)
        picked = block.exponentials[:, :, row, column].masked_fill(~visible[:, None], torch.nan)
        for number, name in enumerate(names):
            part = picked[:, :, number * rows : (number + 1) * rows]
            self.rows[name][:, :, block.start : block.end] = part * share

    def _store_copies(self, block: Block, share: Tensor) -> None:
        """Weight on earlier copies of the query's token, and on what followed those copies."""
        assert self.pairs is not None  # noqa: S101 - the caller has looked
        some, few = self.pairs.block(block.start, block.end)
        rows = slice(block.start, block.end)
        for name, shift in (("duplicate", 0), ("induction", 1)):
            if few is not None:
                found = _sum_at(block, few, shift)
            else:
                same = self.pairs.flags(block.start, block.end)
                found = _sum_where(block, same, shift)
            self.rows[name][:, :, rows] = (found * share).masked_fill(~some[:, None], torch.nan)

    def of_text(self, index: int, queries: int, keys: int) -> RowStatistics:
        """The numbers of one text of the batch, without its padding, on the host."""
        rows = {
            name: self.rows[name][index, :, :queries].cpu().numpy().copy() for name in ROW_NAMES
        }
        key_mass = self.key_mass[index, :, :keys].cpu().numpy().copy()
        return RowStatistics(**rows, key_mass=key_mass)


def _distance(block: Block, query: Int[Tensor, " query"]) -> Float[Tensor, "batch head query"]:
    """The sum of exponential x |query - key| of each row.

    Before the block, |i - j| = (i - c) + (c - j) with c = start, and behind it (j - c) - (i - c):
    both are a product with two fixed columns, one matrix product for all heads. Only the block's
    own corner needs its distances one by one.
    """
    exponentials = block.exponentials
    key = torch.arange(block.key_start, block.key_end, device=query.device)
    before, behind = key < block.start, key >= block.end
    side = before.float() - behind.float()  # +1 before, -1 behind, 0 within
    columns = torch.stack([side * (block.start - key), side], dim=1)
    sums = exponentials.reshape(-1, len(key)) @ columns
    sums = sums.view(*exponentials.shape[:3], 2)
    outside = sums[..., 0] + sums[..., 1] * (query - block.start)
    left = max(block.start - block.key_start, 0)
    right = max(min(block.end, block.key_end) - block.key_start, left)
    apart = (query[:, None] - key[left:right]).abs().float()
    return outside + (exponentials[..., left:right] * apart).sum(-1)


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
