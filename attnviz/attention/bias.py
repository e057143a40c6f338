"""What is added to the scores: kept as 2n-1 numbers per head where only the distance matters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["PositionBias"]


@dataclass(frozen=True)
class PositionBias:
    """A bias per head, by key position minus query position, or as a table where that fails.

    T5's relative buckets and ALiBi depend on the distance alone: 2n-1 different values stand for
    n x n (Raffel et al. 2020; Press et al. 2022).

    Attributes:
        by_distance: entry `distance + queries - 1` is the bias at that distance.
        table: the numbers themselves, when they are not a function of distance.
    """

    by_distance: Float[Tensor, "head distance"] | None
    table: Float[Tensor, "head query key"] | None
    queries: int
    keys: int

    @classmethod
    def of(cls, bias: Float[Tensor, "head query key"]) -> PositionBias:
        """The smallest exact description of a table of biases."""
        _, queries, keys = bias.shape
        if torch.equal(bias[:, 1:, 1:], bias[:, :-1, :-1]):
            # Down the first column the distance falls from 0 to 1 - queries; along the first row
            # it rises from 0 to keys - 1.
            left, top = bias[:, 1:, 0].flip(-1), bias[:, 0, :]
            return cls(torch.cat([left, top], -1).contiguous(), None, queries, keys)
        return cls(None, bias.contiguous(), queries, keys)

    def block(
        self, start: int, end: int, key_start: int, key_end: int, head: int | slice = slice(None)
    ) -> Float[Tensor, "head query key"]:
        """The bias of queries start..end and keys key_start..key_end, for some heads."""
        if self.table is not None:
            return self.table[head, start:end, key_start:key_end]
        assert self.by_distance is not None  # noqa: S101 - one of the two is always there
        device = self.by_distance.device
        query = torch.arange(start, end, device=device)[:, None]
        key = torch.arange(key_start, key_end, device=device)[None, :]
        return self.by_distance[head][..., key - query + self.queries - 1]

    def cpu(self) -> PositionBias:
        """The same bias on the host, on storage of its own."""
        return PositionBias(
            None if self.by_distance is None else self.by_distance.cpu(),
            None if self.table is None else self.table.cpu(),
            self.queries,
            self.keys,
        )

    def first(self, queries: int, keys: int) -> PositionBias:
        """The bias among the first queries and keys: a text without its padding."""
        if self.table is not None:
            return PositionBias(None, self.table[:, :queries, :keys], queries, keys)
        assert self.by_distance is not None  # noqa: S101
        start = self.queries - queries
        return PositionBias(
            self.by_distance[:, start : self.queries + keys - 1], None, queries, keys
        )
