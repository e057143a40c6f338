"""What is kept of every row of weights while the attention runs: a few numbers, never the row."""

from __future__ import annotations

from dataclasses import dataclass, fields

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
SPARSE_SHARE = 8  # below one matching pair in eight, picking the pairs beats masking the block


@dataclass(frozen=True)
class RowStatistics:
    """Numbers per query of one layer (with a leading batch axis while recording).

    NaN means "does not exist for this query": the first query has no previous token.

    Attributes:
        entropy: -sum p ln p, nats.
        max_weight: the largest weight.
        max_key: the key that has it.
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
    max_key: Int[np.ndarray, "*batch head query"]
    mass: Float[np.ndarray, "*batch head query"]
    first: Float[np.ndarray, "*batch head query"]
    itself: Float[np.ndarray, "*batch head query"]
    previous: Float[np.ndarray, "*batch head query"]
    next: Float[np.ndarray, "*batch head query"]
    duplicate: Float[np.ndarray, "*batch head query"]
    induction: Float[np.ndarray, "*batch head query"]
    distance: Float[np.ndarray, "*batch head query"]
    key_mass: Float[np.ndarray, "*batch head key"]

    def of_text(self, index: int, queries: int, keys: int) -> RowStatistics:
        """The numbers of one text of a batch, without its padding."""
        return RowStatistics(
            **{
                field.name: getattr(self, field.name)[
                    index, :, : keys if field.name == "key_mass" else queries
                ].copy()
                for field in fields(self)
            }
        )


class TokenPairs:
    """Which earlier positions hold the same token: found once per text, used by every layer."""

    def __init__(self, ids: Int[Tensor, "batch position"]) -> None:
        self.ids = ids
        self._blocks: dict[tuple[int, int], tuple[Tensor, Tensor | None]] = {}

    def block(self, start: int, end: int) -> tuple[Tensor, Tensor | None]:
        """Flags [batch, query, key] for keys 0..end-1, and the flagged indices if they are few."""
        if (start, end) not in self._blocks:
            query = torch.arange(start, end, device=self.ids.device)
            key = torch.arange(end, device=self.ids.device)
            same = self.ids[:, start:end, None] == self.ids[:, None, :end]
            same &= key < query[:, None]
            pairs = same.nonzero()
            few = pairs.shape[0] * SPARSE_SHARE < same.numel()
            self._blocks[start, end] = (same, pairs.T.contiguous() if few else None)
        return self._blocks[start, end]


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
        self.real = None if real is None else real.float()[:, None, None]
        self.rows = {
            name: torch.full(shape, torch.nan, device=device)
            for name in (*ROW_NAMES, "highest", "total")
        }
        self.max_key = torch.zeros(shape, dtype=torch.int32, device=device)
        self.key_mass = torch.zeros(batch, heads, visibility.n_keys, device=device)

    def __call__(self, block: Block) -> None:
        """Take what is needed from a finished block of rows."""
        rows = slice(block.start, block.end)
        columns = slice(block.key_start, block.key_end)
        weights = block.exponentials / block.normalizer.total[..., None]
        self.rows["highest"][:, :, rows] = block.normalizer.highest
        self.rows["total"][:, :, rows] = block.normalizer.total
        self.rows["entropy"][:, :, rows] = block.entropy
        self.rows["max_weight"][:, :, rows] = weights.amax(-1)
        self.rows["mass"][:, :, rows] = weights.sum(-1)
        self.max_key[:, :, rows] = block.best.int()
        if self.real is None:
            self.key_mass[:, :, columns] += weights.sum(-2)
        else:  # rows of padding exist while a batch runs, and give weight that is nobody's
            self.key_mass[:, :, columns] += (self.real[..., rows] @ weights)[:, :, 0]
        query = torch.arange(block.start, block.end, device=weights.device)
        self._store_at("first", torch.zeros_like(query), block, weights)
        if self.pairs is None:  # queries and keys are different texts: no "previous", no distance
            return
        self._store_at("itself", query, block, weights)
        self._store_at("previous", query - 1, block, weights)
        self._store_at("next", query + 1, block, weights)
        key = torch.arange(block.key_start, block.key_end, device=weights.device)
        apart = (query[:, None] - key).abs().float()
        self.rows["distance"][:, :, rows] = (weights * apart).sum(-1)
        self._store_copies(block, weights)

    def _store_at(self, name: str, key: Tensor, block: Block, weights: Tensor) -> None:
        """The weight each query gives to one key; NaN where that key is invisible to it."""
        row = torch.arange(block.end - block.start, device=key.device)
        column = (key - block.key_start).clamp(0, block.key_end - block.key_start - 1)
        visible = self.visibility.sees(row + block.start, key)
        picked = weights[:, :, row, column].masked_fill(~visible[:, None], torch.nan)
        self.rows[name][:, :, block.start : block.end] = picked

    def _store_copies(self, block: Block, weights: Tensor) -> None:
        """Weight on earlier copies of the query's token, and on what followed those copies."""
        assert self.pairs is not None  # noqa: S101 - the caller has looked
        same, few = self.pairs.block(block.start, block.end)
        none = ~same.any(-1)[:, None]
        full = weights
        if block.key_start > 0 or block.key_end < block.end:
            left, right = block.key_start, max(block.end - block.key_end, 0)
            full = torch.nn.functional.pad(weights, (left, right))
        rows = slice(block.start, block.end)
        for name, shift in (("duplicate", 0), ("induction", 1)):
            if few is not None:
                text, row, key = few
                picked = full.permute(0, 2, 3, 1)[text, row, key + shift]  # (pair, head)
                total = weights.new_zeros(weights.shape[0], weights.shape[2], weights.shape[1])
                total.index_put_((text, row), picked, accumulate=True)
                found = total.transpose(1, 2)
            else:
                width = same.shape[-1] - shift
                found = (full[..., shift : shift + width] * same[:, None, :, :width]).sum(-1)
            self.rows[name][:, :, rows] = found.masked_fill(none, torch.nan)

    def finish(self) -> RowStatistics:
        """Everything collected, on the host."""
        names = {field.name for field in fields(RowStatistics)}
        arrays = {name: rows.cpu().numpy() for name, rows in self.rows.items() if name in names}
        return RowStatistics(
            **arrays, max_key=self.max_key.cpu().numpy(), key_mass=self.key_mass.cpu().numpy()
        )
