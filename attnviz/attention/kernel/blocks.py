"""Blocks of attention rows: their size, their buffers, their sums."""

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
    """Limits of the block size on a device.

    Attributes:
        score_bytes: of all scores of a block.
        piece_bytes: of the scores that one thread turns into exponentials at a time.
        least_rows: minimum of queries of a block; a block has fewer heads before it has fewer
            queries, because a product with few rows is bound by reading the keys.
        most_rows: maximum of queries of a block that has all heads.
    """

    score_bytes: int
    piece_bytes: int
    least_rows: int
    most_rows: int


PROCESSOR_SIZES = BlockSizes(20 << 20, 768 << 10, 128, 128)
"""Measured on two threads with 12 heads of 128 to 32,000 tokens (docs/reference/benchmarks.md).
With larger blocks the allocator returns the memory after each layer and requests it again."""

GPU_SIZES = BlockSizes(256 << 20, 256 << 20, 64, 1 << 20)
"""Large enough to occupy all processors of a GPU. Not measured."""

LEAST_ROWS = 8


@dataclass(frozen=True)
class BlockShape:
    """Maximum of heads and queries of a block, and of scores of a piece of it.

    `heads` is a multiple or a divisor of the number of query heads that share a key head.
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
        """Return the block shape of a call: the most heads that leave room for enough queries.

        Args:
            batch: number of texts.
            heads: number of query heads.
            key_heads: number of key heads.
            keys: number of keys of each text.
            sizes: limits of the device.
            threads: number of threads that share the heads of a block; none should be idle.
        """
        for part in _head_counts(batch, heads, heads // key_heads, threads):
            rows = sizes.score_bytes // (4 * batch * part * max(keys, 1))
            if rows >= sizes.least_rows:
                break
        rows = max(LEAST_ROWS, min(rows, sizes.most_rows) if part == heads else rows)
        return cls(part, rows, threads * sizes.piece_bytes // 4)


def _head_counts(batch: int, heads: int, group: int, threads: int) -> list[int]:
    """Return the numbers of heads that a block may have, largest first."""
    allowed = [
        part
        for part in range(heads, 0, -1)
        if heads % part == 0 and (part % group == 0 or group % part == 0)
    ]
    return [part for part in allowed if part in (heads, 1) or batch * part % threads == 0]


class Workspace:
    """Scratch buffers, reused between blocks and between layers.

    The operating system clears every new page of memory, which takes longer than the sums in it.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, numbers: int, device: torch.device) -> Float[Tensor, " number"]:
        """Return the float32 buffer of this name with `numbers` elements, not cleared."""
        buffer = self._buffers.get(name)
        # A tensor made in inference mode must not be written outside it, and the reverse.
        suits = buffer is not None and buffer.device == device and (
            buffer.is_inference() == torch.is_inference_mode_enabled()
        )  # fmt: skip
        if buffer is None or not suits or buffer.numel() < numbers:
            self._buffers[name] = buffer = torch.empty(numbers, dtype=torch.float32, device=device)
        return buffer[:numbers]


@dataclass(frozen=True)
class Normalizer:
    """Row numbers that turn a score into a weight: weight = exp(score - highest) / total.

    Two numbers instead of the log-sum-exp: scores of models without scaling (T5) reach the
    hundreds, and exp(score - (highest + log total)) would lose four digits by rounding.
    """

    highest: Float[Tensor, "*batch head query"]
    total: Float[Tensor, "*batch head query"]

    def map(self, change: Callable[[Tensor], Tensor]) -> Normalizer:
        """Return a normaliser with `change` applied to both tensors."""
        return Normalizer(change(self.highest), change(self.total))


@dataclass(frozen=True)
class RowSums:
    """Sums over the keys of each row of one call; filled block by block, in order of queries.

    Attributes:
        highest: score subtracted before exp: the largest of the row, or its sink if larger.
        largest: largest score of the row - highest; 0 without a sink.
        mass: sum of exp(score - highest).
        total: divisor of the exponentials: `mass` + exp(sink - highest).
        score_sum: sum of exp(score - highest) x (score - highest).
    """

    highest: Float[Tensor, "batch head query"]
    largest: Float[Tensor, "batch head query"]
    mass: Float[Tensor, "batch head query"]
    total: Float[Tensor, "batch head query"]
    score_sum: Float[Tensor, "batch head query"]

    @classmethod
    def empty(cls, batch: int, heads: int, queries: int, device: torch.device) -> RowSums:
        """Return sums of zero for this many rows."""
        return cls(
            *torch.zeros(5, batch, heads, queries, dtype=torch.float32, device=device).unbind(0)
        )

    def part(self, heads: slice, queries: slice) -> RowSums:
        """Return views of the sums of some heads and queries."""
        return RowSums(*(tensor[:, heads, queries] for tensor in self.tensors))

    @property
    def tensors(self) -> tuple[Float[Tensor, "batch head query"], ...]:
        """Five tensors, in the order of the attributes."""
        return self.highest, self.largest, self.mass, self.total, self.score_sum

    def copy_from(self, other: RowSums) -> None:
        """Copy the numbers of `other` into these tensors."""
        for target, source in zip(self.tensors, other.tensors, strict=True):
            target.copy_(source.detach())

    @property
    def entropy(self) -> Float[Tensor, "batch head query"]:
        """Entropy -sum p ln p of each row, nats.

        p = exponential / total, ln p = score - highest - ln total.
        """
        return ((self.mass * self.total.log() - self.score_sum) / self.total).clamp_min(0.0)

    @property
    def max_weight(self) -> Float[Tensor, "batch head query"]:
        """Largest weight of each row; 0 for a row without visible keys."""
        return self.largest.exp() * (self.mass > 0) / self.total


@dataclass(frozen=True)
class Block:
    """Complete rows of some heads: queries start..end-1 over keys key_start..key_end-1.

    weight = exponentials / sums.total. Not divided here: most statistics need sums of weights only.

    Attributes:
        heads: heads of the call that the block has.
        start: first query.
        end: one past the last query.
        key_start: first key.
        key_end: one past the last key.
        exponentials: exp(score - highest), float32; 0 at invisible keys. The next block
            overwrites them.
        call_sums: sums of all rows of the call; rows of later blocks are not filled yet.
    """

    heads: slice
    start: int
    end: int
    key_start: int
    key_end: int
    exponentials: Float[Tensor, "batch head query key"]
    call_sums: RowSums

    @property
    def rows(self) -> slice:
        """Queries of the block."""
        return slice(self.start, self.end)

    @property
    def sums(self) -> RowSums:
        """Sums of the rows of the block."""
        return self.call_sums.part(self.heads, self.rows)
