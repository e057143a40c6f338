"""What is kept of every row of weights while the attention runs: a few numbers, never the row."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnviz.attention.blocks import Block, Normalizer, RowSums
from attnviz.attention.fused import FusedRows
from attnviz.attention.pairs import TokenPairs
from attnviz.attention.visibility import Visibility

__all__ = ["ROW_NAMES", "RowObserver", "RowStatistics", "TokenPairs", "alone"]

ROW_NAMES = (
    *("entropy", "max_weight", "mass", "first", "itself", "previous", "next"),
    *("duplicate", "induction", "distance"),
)
NEIGHBOURS = {"itself": 0, "previous": -1, "next": 1}  # which key: the query's own place and this
COPIES = {"duplicate": 0, "induction": 1}  # how far behind each copy of the query's token
FEW_PAIRS = 64  # copies per token that are looked at one by one


def alone(tensor: Tensor) -> Tensor:
    """The same numbers without a larger tensor behind them, which they would keep in memory."""
    return tensor if tensor.untyped_storage().nbytes() <= tensor.nbytes else tensor.clone()


@dataclass(frozen=True)
class RowStatistics:
    """Numbers per query of one layer over one text, where the model ran until `on_host`.

    NaN means "does not exist for this query": the first query has no previous token. By name:

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
        key_mass   sum of the weights each key gets over all queries, padding left out

    Attributes:
        table: all but the last, in the order of `ROW_NAMES`.
        key_mass: the last.
    """

    table: Float[Tensor, "name head query"]
    key_mass: Float[Tensor, "head key"]

    def __getitem__(self, name: str) -> Float[Tensor, "head position"]:
        """The numbers of this name."""
        return self.key_mass if name == "key_mass" else self.table[ROW_NAMES.index(name)]

    def on_host(self) -> RowStatistics:
        """The same in the host's memory."""
        return RowStatistics(self.table.cpu(), self.key_mass.cpu())


class RowObserver:
    """Collects the statistics of one layer, block by block or all rows at once.

    Of blocks it keeps sums of exponentials, and makes weights of them in `finish`: on small blocks
    it is the calls that cost, not the numbers.

    Attributes:
        rows: the statistics by name, with a batch axis, once `finish` has been called.
        normalizer: of all rows, likewise.
        key_mass: what each key has received.
        doubtful: whether scores were too large for rows to be taken at once with all digits; on
            the device, for somebody who asks once for all layers. None after blocks.
    """

    rows: dict[str, Tensor]
    normalizer: Normalizer
    doubtful: Bool[Tensor, ""] | None = None

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
        self._table = torch.zeros(len(ROW_NAMES), batch, heads, queries, device=device)
        self.rows = dict(zip(ROW_NAMES, self._table.unbind(0), strict=True))
        self.key_mass = torch.zeros(batch, heads, visibility.n_keys, device=device)
        self._sums: RowSums | None = None
        self._ramp: Tensor | None = None
        self._corner: tuple[tuple[int, int, int], Tensor, Tensor] | None = None

    @property
    def takes_rows(self) -> bool:
        """Whether the weights on copies are few enough to be had one by one."""
        if self.by_blocks:
            return False
        return self.pairs is None or self.pairs.count <= FEW_PAIRS * self.pairs.ids.numel()

    def __call__(self, block: Block) -> None:
        """Take what is needed from a finished block of rows."""
        place = (slice(None), block.heads, block.rows)
        self._sums = block.sums
        # Rows of padding exist while a batch runs, and give weight that is nobody's.
        giving = block.own.total.reciprocal()
        if self.real is not None:
            giving = giving * self.real[..., block.rows]
        received = torch.matmul(giving[:, :, None], block.exponentials)[:, :, 0]
        self.key_mass[:, block.heads, block.key_start : block.key_end] += received
        if block.key_start == 0:
            self.rows["first"][place] = block.exponentials[..., 0]
        if self.pairs is None:  # queries and keys are different texts: no "previous", no distance
            return
        for name, shift in NEIGHBOURS.items():
            # Row r of the block meets key start + r + shift on this diagonal.
            offset = block.start + shift - block.key_start
            met = block.exponentials.diagonal(offset, -2, -1)
            begin = block.start + max(-offset, 0)
            self.rows[name][:, block.heads, begin : begin + met.shape[-1]] = met
        self.rows["distance"][place] = self._distance(block)
        copies = self.pairs.sums(block, tuple(COPIES.values()))
        if copies is not None:
            for name, found in zip(COPIES, copies, strict=True):
                self.rows[name][place] = found

    def take(self, rows: FusedRows) -> None:
        """Take the same from rows whose weights were never made."""
        self.doubtful = ~rows.are_safe
        total = (rows.lse - rows.highest).exp()
        self.normalizer = Normalizer(rows.highest + rows.shift, total)
        self.rows["entropy"].copy_(rows.entropy)
        self.rows["mass"].copy_(~rows.blind)
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
                picked = one.weights_at(later, copy + shift)[0]
                self.rows[name][text].index_add_(-1, later, picked)

    def finish(self) -> RowObserver:
        """Make weights of sums, and mark with NaN what does not exist for a query."""
        if self._sums is not None:
            sums = self._sums
            self.normalizer = Normalizer(sums.highest, sums.total)
            self.rows["entropy"].copy_(sums.entropy)
            self.rows["max_weight"].copy_(sums.max_weight)
            self.rows["mass"].copy_(sums.mass)
            for name in self.rows.keys() - {"entropy", "max_weight"}:
                self.rows[name].div_(sums.total)
        query = torch.arange(self.rows["first"].shape[-1], device=self.key_mass.device)
        self._hide("first", self.visibility.sees(query, torch.zeros_like(query)))
        for name, shift in NEIGHBOURS.items():
            self._hide(
                name, None if self.pairs is None else self.visibility.sees(query, query + shift)
            )
        for name in COPIES:
            self._hide(name, None if self.pairs is None else self.pairs.some)
        if self.pairs is None:
            self._hide("distance", None)
        return self

    def of_text(self, index: int, queries: int, keys: int) -> RowStatistics:
        """The numbers of one text of the batch, without its padding."""
        table = self._table[:, index, :, :queries]
        return RowStatistics(alone(table), alone(self.key_mass[index, :, :keys]))

    def _distance(self, block: Block) -> Float[Tensor, "batch head query"]:
        """The sum of exponential x |query - key| of each row.

        Before the block, |i - j| = (i - c) + (c - j) with c = start, and behind it
        (j - c) - (i - c): the first is a number per row, the second a product with a fixed column.
        Only the block's own corner needs its distances one by one.
        """
        exponentials, rows = block.exponentials, block.end - block.start
        keys = block.key_end - block.key_start
        first = block.key_start - block.start + self.visibility.n_keys
        columns = self._columns(rows)[:, first : first + keys]
        # This way round two columns are read at once, in the time of one.
        table = exponentials.view(-1, keys).T
        left = min(max(block.start - block.key_start, 0), keys)
        right = max(min(block.end, block.key_end) - block.key_start, left)
        corner = exponentials[..., left:right]
        row, apart = self._apart(rows, right - left, left + block.key_start - block.start)
        near = (corner * apart).sum(-1)
        far, before = torch.matmul(columns, table).view(2, *near.shape).unbind()
        return near + far + before * row

    def _apart(
        self, rows: int, keys: int, ahead: int
    ) -> tuple[Float[Tensor, " query"], Float[Tensor, "query key"]]:
        """The rows of a block by number, and their distances from the keys of its corner.

        Args:
            rows: of the block.
            keys: of the corner.
            ahead: how far its first key is from the block's first query.
        """
        asked = (rows, keys, ahead)
        if self._corner is None or self._corner[0] != asked:
            row = torch.arange(max(rows, keys), device=self.key_mass.device).float()
            apart = (row[:rows, None] - row[:keys] - ahead).abs()
            self._corner = (asked, row[:rows], apart)
        return self._corner[1:]

    def _columns(self, rows: int) -> Float[Tensor, "2 place"]:
        """Both columns for a block of this many rows, by key - start + number of keys.

        Every block but the last has the same number of rows, and behind the last there is nothing.
        """
        if self._ramp is None:
            keys = self.visibility.n_keys
            away = torch.arange(-keys, keys, device=self.key_mass.device)
            side = (away < 0).float() - (away >= rows).float()  # +1 before, -1 behind, 0 within
            self._ramp = torch.stack([side * -away, side])
        return self._ramp

    def _hide(self, name: str, exists: Bool[Tensor, "batch query"] | None) -> None:
        """NaN for the queries for which a number does not exist; for all where it is None."""
        if exists is None:
            self.rows[name].fill_(torch.nan)
        else:
            self.rows[name].masked_fill_(~exists[:, None], torch.nan)
