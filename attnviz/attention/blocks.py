"""What attention is made in: blocks of finished rows of a few heads, and how large they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "GPU_SIZES",
    "PROCESSOR_SIZES",
    "Block",
    "BlockShape",
    "BlockSizes",
    "Normalizer",
    "RowSums",
    "Workspace",
]


@dataclass(frozen=True)
class BlockSizes:
    """How large blocks are made on a device.

    Attributes:
        score_bytes: of the scores that exist at a time.
        piece_bytes: of the scores that one thread makes weights of at a time.
        least_rows: heads wait for one another if fewer queries of all of them fit: a product with
            fewer waits for its keys.
        most_rows: of all heads together.
    """

    score_bytes: int
    piece_bytes: int
    least_rows: int
    most_rows: int


PROCESSOR_SIZES = BlockSizes(20 << 20, 768 << 10, 128, 128)
"""Measured on two threads with 12 heads of 128 to 32,000 tokens (docs/benchmarks.md). With more
bytes, a pass gives back what it has used and waits for fresh memory in each layer."""

GPU_SIZES = BlockSizes(256 << 20, 256 << 20, 64, 1 << 20)
"""A block must be large enough to keep all processors of a GPU busy. Not measured."""

LEAST_ROWS = 8


@dataclass(frozen=True)
class BlockShape:
    """How many heads and queries a block has at most, and how many scores a piece of it has.

    Heads that share a key head are in one block, or a block has none but them: `heads` is a
    multiple or a divisor of their number.
    """

    heads: int
    rows: int
    piece: int = 1 << 30

    @classmethod
    def of(
        cls,
        batch: int,
        heads: int,
        key_heads: int,
        keys: int,
        *,
        sizes: BlockSizes = PROCESSOR_SIZES,
        threads: int = 1,
    ) -> BlockShape:
        """What suits a call: all heads if enough rows fit, or else as many heads as let them fit.

        Args:
            batch: texts of the call.
            heads: of the queries.
            key_heads: of the keys.
            keys: of each text.
            sizes: of the device.
            threads: that share the heads of a block: none should be idle.
        """
        for part in _parts(batch, heads, heads // key_heads, threads):
            rows = sizes.score_bytes // (4 * batch * part * max(keys, 1))
            if rows >= sizes.least_rows:
                break
        rows = max(LEAST_ROWS, min(rows, sizes.most_rows) if part == heads else rows)
        return cls(part, rows, threads * sizes.piece_bytes // 4)


def _parts(batch: int, heads: int, group: int, threads: int) -> list[int]:
    """How many heads a block may have, the most first."""
    allowed = [
        part
        for part in range(heads, 0, -1)
        if heads % part == 0 and (part % group == 0 or group % part == 0)
    ]
    return [part for part in allowed if part in (heads, 1) or batch * part % threads == 0]


class Workspace:
    """Memory that block after block, and layer after layer, works in.

    Fresh memory would cost more than the sums done in it: the system clears every page of it.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def take(self, name: str, numbers: int, device: torch.device) -> Float[Tensor, " number"]:
        """So many float32 numbers, with what was left in them when the name was last taken."""
        kept = self._kept.get(name)
        # Memory of one mode must not be written to in the other.
        suits = kept is not None and kept.device == device and (
            kept.is_inference() == torch.is_inference_mode_enabled()
        )  # fmt: skip
        if kept is None or not suits or kept.numel() < numbers:
            self._kept[name] = kept = torch.empty(numbers, device=device)
        return kept[:numbers]


@dataclass(frozen=True)
class Normalizer:
    """What turns a score into a weight: weight = exp(score - highest) / total.

    The two are kept apart: scores of models that do not scale them (T5) reach the hundreds, and
    exp(score - (highest + log total)) would lose four digits to the rounding of the sum.
    """

    highest: Float[Tensor, "*batch head query"]
    total: Float[Tensor, "*batch head query"]

    def map(self, change: Callable[[Tensor], Tensor]) -> Normalizer:
        """Both numbers changed alike."""
        return Normalizer(change(self.highest), change(self.total))


@dataclass(frozen=True)
class RowSums:
    """What one call knows of each of its rows; blocks fill it in, in order of queries.

    Attributes:
        highest: what was taken off a row's scores before exp: the largest, or the sink's if larger.
        largest: the largest score of each row, less `highest`: 0 without a learned sink.
        mass: the sum of each row's exponentials.
        total: what they are divided by: `mass`, and a learned sink's exponential.
        surprise: the sum of exponential x (score - highest).
    """

    highest: Float[Tensor, "batch head query"]
    largest: Float[Tensor, "batch head query"]
    mass: Float[Tensor, "batch head query"]
    total: Float[Tensor, "batch head query"]
    surprise: Float[Tensor, "batch head query"]

    @classmethod
    def empty(cls, batch: int, heads: int, queries: int, device: torch.device) -> RowSums:
        """Room for this many rows, not filled in yet."""
        return cls(*torch.zeros(5, batch, heads, queries, device=device).unbind(0))

    def part(self, heads: slice, rows: slice) -> RowSums:
        """The same memory for some heads and queries alone."""
        return RowSums(*(one[:, heads, rows] for one in self.each))

    @property
    def each(self) -> tuple[Float[Tensor, "batch head query"], ...]:
        """The five, in order."""
        return self.highest, self.largest, self.mass, self.total, self.surprise

    def fill(self, found: RowSums) -> None:
        """Take these numbers into this memory."""
        for mine, theirs in zip(self.each, found.each, strict=True):
            mine.copy_(theirs.detach())

    @property
    def entropy(self) -> Float[Tensor, "batch head query"]:
        """Of each row, nats: -sum p ln p with p = e / total, ln p = score - highest - ln total."""
        return ((self.mass * self.total.log() - self.surprise) / self.total).clamp_min(0.0)

    @property
    def max_weight(self) -> Float[Tensor, "batch head query"]:
        """The largest weight of each row; 0 where nothing is seen."""
        return self.largest.exp() * (self.mass > 0) / self.total


@dataclass(frozen=True)
class Block:
    """The finished rows of some heads and queries over keys key_start..key_end.

    weight = exponentials / own.total. The division is left to whoever needs it: most do not need
    the weights one by one.

    Attributes:
        heads: which of the call's.
        start: the first query.
        end: one past the last.
        exponentials: exp(score - highest), float32; 0 at invisible keys. Its memory is used again
            for the next block.
        sums: of all rows of the call; those of later blocks are not there yet.
    """

    heads: slice
    start: int
    end: int
    key_start: int
    key_end: int
    exponentials: Float[Tensor, "batch head query key"]
    sums: RowSums

    @property
    def rows(self) -> slice:
        """Its queries."""
        return slice(self.start, self.end)

    @property
    def own(self) -> RowSums:
        """The sums of this block's rows."""
        return self.sums.part(self.heads, self.rows)
