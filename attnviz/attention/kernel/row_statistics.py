"""Row statistics collected during attention: a few numbers per row of weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnviz.attention.kernel.blocks import Block, Normalizer, RowSums
from attnviz.attention.kernel.fused_statistics import FusedRows
from attnviz.attention.kernel.token_pairs import TokenPairs
from attnviz.attention.masks.visibility import Visibility

__all__ = ["ROW_NAMES", "RowObserver", "RowStatistics", "TokenPairs", "alone"]

ROW_NAMES = (
    *("entropy", "max_weight", "mass", "first", "itself", "previous", "next"),
    *("duplicate", "induction", "distance"),
)
NEIGHBOURS = {"itself": 0, "previous": -1, "next": 1}  # key position - query position
COPIES = {"duplicate": 0, "induction": 1}  # key position - position of the copy
FEW_PAIRS = 64  # mean number of copies per token up to which single weights are computed


def alone(tensor: Tensor) -> Tensor:
    """Copy a view whose larger base tensor would otherwise stay in memory."""
    return tensor if tensor.untyped_storage().nbytes() <= tensor.nbytes else tensor.clone()


@dataclass(frozen=True)
class RowStatistics:
    """Statistics of each row of one layer over one text, on the model's device until `on_host`.

    NaN if a number does not exist for a query: the first query has no previous token. By name:

        entropy    -sum p ln p, nats
        max_weight the largest weight
        mass       the sum of the weights: 1, or less with a learned sink
        first      weight on key 0
        itself     weight on the query's own position
        previous   weight on the position before
        next       weight on the position after
        duplicate  weight on earlier copies of the query's token
        induction  weight on the tokens that followed earlier copies of the query's token
        distance   expected |query position - key position|, tokens
        key_mass   sum of the weights each key receives from all queries without padding

    Attributes:
        table: all but `key_mass`, in the order of `ROW_NAMES`.
        key_mass: one number per key.
    """

    table: Float[Tensor, "name head query"]
    key_mass: Float[Tensor, "head key"]

    def __getitem__(self, name: str) -> Float[Tensor, "head position"]:
        """Return the statistic of this name."""
        return self.key_mass if name == "key_mass" else self.table[ROW_NAMES.index(name)]

    def on_host(self) -> RowStatistics:
        """Copy the statistics to the CPU."""
        return RowStatistics(self.table.cpu(), self.key_mass.cpu())


class RowObserver:
    """Observer that collects the statistics of one layer, from blocks or from fused rows.

    From blocks it collects sums of exponentials, which `finish` divides for all rows at once: in
    small blocks the number of tensor operations takes the time, not their size.

    Args:
        batch: number of texts.
        heads: number of query heads.
        queries: number of queries.
        visibility: visible keys of each query.
        pairs: pairs of equal tokens; None if queries and keys are different texts.
        device: device of the call.
        real: mask of queries that are not padding; None if all are real.
        by_blocks: do not accept fused rows.

    Attributes:
        rows: the statistics by name, with a batch axis; complete after `finish`.
        normalizer: of all rows; complete after `finish`.
        key_mass: sum of the weights that each key has received.
        inaccurate: True if the scores of a fused call were too large for an accurate entropy; a
            tensor on the device, so that no layer waits for it. None after blocks.
    """

    rows: dict[str, Tensor]
    normalizer: Normalizer
    inaccurate: Bool[Tensor, ""] | None = None

    def __init__(
        self,
        batch: int,
        heads: int,
        queries: int,
        visibility: Visibility,
        pairs: TokenPairs | None,
        device: torch.device,
        real: Bool[Tensor, "batch query"] | None = None,
        by_blocks: bool = False,
    ) -> None:
        self.visibility = visibility
        self.by_blocks = by_blocks
        self.pairs = pairs
        self.real = None if real is None else real.float()[:, None]
        self._table = torch.zeros(
            len(ROW_NAMES), batch, heads, queries, dtype=torch.float32, device=device
        )
        self.rows = dict(zip(ROW_NAMES, self._table.unbind(0), strict=True))
        self.key_mass = torch.zeros(
            batch, heads, visibility.n_keys, dtype=torch.float32, device=device
        )
        self._sums: RowSums | None = None
        self._ramp: Tensor | None = None
        self._corner: tuple[tuple[int, int, int], Tensor, Tensor] | None = None

    @property
    def accepts_fused_rows(self) -> bool:
        """True if the weights on copies are few enough to be computed one by one."""
        if self.by_blocks:
            return False
        return self.pairs is None or self.pairs.count <= FEW_PAIRS * self.pairs.ids.numel()

    def __call__(self, block: Block) -> None:
        """Collect the statistics of a block of rows."""
        index = (slice(None), block.heads, block.rows)
        self._sums = block.call_sums
        factor = block.sums.total.reciprocal()  # (B, h, q)
        if self.real is not None:  # weights of padding rows do not count
            factor = factor * self.real[..., block.rows]
        received = torch.matmul(factor[:, :, None], block.exponentials)[:, :, 0]  # (B, h, k)
        self.key_mass[:, block.heads, block.key_start : block.key_end] += received
        if block.key_start == 0:
            self.rows["first"][index] = block.exponentials[..., 0]
        if self.pairs is None:  # queries and keys are different texts: no "previous", no distance
            return
        for name, shift in NEIGHBOURS.items():
            # Row r of the block and key start + r + shift are on this diagonal.
            offset = block.start + shift - block.key_start
            diagonal = block.exponentials.diagonal(offset, -2, -1)
            begin = block.start + max(-offset, 0)
            self.rows[name][:, block.heads, begin : begin + diagonal.shape[-1]] = diagonal
        self.rows["distance"][index] = self._distance(block)
        copies = self.pairs.sums(block, tuple(COPIES.values()))
        if copies is not None:
            for name, sums in zip(COPIES, copies, strict=True):
                self.rows[name][index] = sums

    def observe_fused_rows(self, rows: FusedRows) -> None:
        """Collect the statistics of all rows of a fused call."""
        self.inaccurate = ~rows.is_accurate
        total = (rows.lse - rows.highest).exp()
        self.normalizer = Normalizer(rows.highest + rows.shift, total)
        self.rows["entropy"].copy_(rows.entropy)
        self.rows["mass"].copy_(~rows.without_keys)
        self.rows["max_weight"].copy_(self.rows["mass"] / total)
        self.key_mass.copy_(rows.received(self.real))
        query = torch.arange(total.shape[-1], device=total.device)
        self.rows["first"].copy_(rows.weights_at(query, torch.zeros_like(query)))
        if self.pairs is None:
            return
        for name, shift in NEIGHBOURS.items():
            self.rows[name].copy_(rows.weights_at(query, query + shift))
        self.rows["distance"].copy_(rows.distance() * self.rows["mass"])
        for text, (_, later, copy) in enumerate(self.pairs.listed):
            one = rows.of_text(text)
            for name, shift in COPIES.items():
                weights = one.weights_at(later, copy + shift)[0]
                self.rows[name][text].index_add_(-1, later, weights)

    def finish(self) -> RowObserver:
        """Divide the sums of blocks, and set numbers that do not exist to NaN; return self."""
        if self._sums is not None:
            sums = self._sums
            self.normalizer = Normalizer(sums.highest, sums.total)
            self.rows["entropy"].copy_(sums.entropy)
            self.rows["max_weight"].copy_(sums.max_weight)
            self.rows["mass"].copy_(sums.mass)
            for name in self.rows.keys() - {"entropy", "max_weight"}:
                self.rows[name].div_(sums.total)
        query = torch.arange(self.rows["first"].shape[-1], device=self.key_mass.device)
        self._hide("first", self.visibility.visible_pairs(query, torch.zeros_like(query)))
        for name, shift in NEIGHBOURS.items():
            self._hide(
                name,
                None if self.pairs is None else self.visibility.visible_pairs(query, query + shift),
            )
        for name in COPIES:
            self._hide(name, None if self.pairs is None else self.pairs.has_earlier_copy)
        if self.pairs is None:
            self._hide("distance", None)
        return self

    def of_text(self, index: int, queries: int, keys: int) -> RowStatistics:
        """Copy the statistics of one text of the batch, without its padding."""
        table = self._table[:, index, :, :queries]
        return RowStatistics(alone(table), alone(self.key_mass[index, :, :keys]))

    def _distance(self, block: Block) -> Float[Tensor, "batch head query"]:
        """Return the sum of exponential x |query - key| of each row.

        For keys before the block's queries |i - j| = (i - c) + (c - j) with c = start, after them
        (j - c) - (i - c): one number per row, and a product with a fixed column. Only the corner
        of the block, where key and query positions overlap, needs the distance of each pair.
        """
        exponentials, rows = block.exponentials, block.end - block.start
        keys = block.key_end - block.key_start
        first = block.key_start - block.start + self.visibility.n_keys
        columns = self._columns(rows)[:, first : first + keys]
        table = exponentials.view(-1, keys).T  # transposed: both columns in one pass over it
        left = min(max(block.start - block.key_start, 0), keys)
        right = max(min(block.end, block.key_end) - block.key_start, left)
        corner = exponentials[..., left:right]
        row, apart = self._corner_distances(
            rows, right - left, left + block.key_start - block.start
        )
        near = (corner * apart).sum(-1)
        far, side_mass = torch.matmul(columns, table).view(2, *near.shape).unbind()
        return near + far + side_mass * row

    def _corner_distances(
        self, rows: int, keys: int, shift: int
    ) -> tuple[Float[Tensor, " query"], Float[Tensor, "query key"]]:
        """Return the row numbers of a block, and |query - key| in its corner; the last is cached.

        Args:
            rows: number of queries of the block.
            keys: number of keys of the corner.
            shift: first key of the corner - first query of the block.
        """
        cache_key = (rows, keys, shift)
        if self._corner is None or self._corner[0] != cache_key:
            row = torch.arange(max(rows, keys), device=self.key_mass.device).float()
            apart = (row[:rows, None] - row[:keys] - shift).abs()
            self._corner = (cache_key, row[:rows], apart)
        return self._corner[1:]

    def _columns(self, rows: int) -> Float[Tensor, "2 offset"]:
        """Return |key - start| and its sign, at index key - start + number of keys; cached.

        Both are 0 within the block's queries. All blocks but the last have the same number of rows,
        and no key comes after the last block.
        """
        if self._ramp is None:
            keys = self.visibility.n_keys
            offset = torch.arange(-keys, keys, device=self.key_mass.device)
            side = (offset < 0).float() - (offset >= rows).float()  # 1 before, -1 after, 0 within
            self._ramp = torch.stack([side * -offset, side])
        return self._ramp

    def _hide(self, name: str, exists: Bool[Tensor, "batch query"] | None) -> None:
        """Set a statistic to NaN where the mask is False; everywhere when None."""
        if exists is None:
            self.rows[name].fill_(torch.nan)
        else:
            self.rows[name].masked_fill_(~exists[:, None], torch.nan)
