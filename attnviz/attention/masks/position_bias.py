"""Position biases of the scores, stored as 2n-1 numbers per head if they depend on distance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["PositionBias"]


@dataclass(frozen=True)
class PositionBias:
    """Bias of each head, by distance or as a table.

    T5's relative buckets and ALiBi depend on the distance alone, key position - query position:
    2n-1 different values stand for n x n (Raffel et al. 2020; Press et al. 2022).

    Attributes:
        numbers: if `by_distance`, [head, distance + queries - 1]; otherwise [head, query, key].
        by_distance: True if the bias is a function of the distance.
        queries: number of queries.
        keys: number of keys.
    """

    numbers: Float[Tensor, "head ..."]
    by_distance: bool
    queries: int
    keys: int

    @classmethod
    def of(cls, bias: Float[Tensor, "head query key"]) -> PositionBias:
        """Return the smallest exact description of a table of biases."""
        _, queries, keys = bias.shape
        if torch.equal(bias[:, 1:, 1:], bias[:, :-1, :-1]):
            # Down the first column the distance falls from 0 to 1 - queries; along the first row
            # it rises from 0 to keys - 1.
            left, top = bias[:, 1:, 0].flip(-1), bias[:, 0, :]
            return cls(torch.cat([left, top], -1).contiguous(), True, queries, keys)
        return cls(bias.contiguous(), False, queries, keys)

    @property
    def heads(self) -> int:
        """Number of heads; 1 if all heads share the bias."""
        return int(self.numbers.shape[0])

    def block(
        self, start: int, end: int, key_start: int, key_end: int, head: int | slice = slice(None)
    ) -> Float[Tensor, "head query key"]:
        """Return the bias of queries start..end-1 and keys key_start..key_end-1."""
        if not self.by_distance:
            return self.numbers[head, start:end, key_start:key_end]
        device = self.numbers.device
        query = torch.arange(start, end, device=device)[:, None]
        key = torch.arange(key_start, key_end, device=device)[None, :]
        return self.numbers[head][..., key - query + self.queries - 1]

    def cpu(self) -> PositionBias:
        """Copy the bias to the CPU."""
        return replace(self, numbers=self.numbers.cpu())

    def first(self, queries: int, keys: int) -> PositionBias:
        """Return the bias of the first queries and keys: a text without its padding."""
        if self.by_distance:
            start = self.queries - queries
            numbers = self.numbers[:, start : self.queries + keys - 1]
        else:
            numbers = self.numbers[:, :queries, :keys]
        return PositionBias(numbers, self.by_distance, queries, keys)
