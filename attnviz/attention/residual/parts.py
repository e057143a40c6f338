"""Parts of a tensor that come from the heads of one layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.types import Kind

__all__ = ["Parts"]


@dataclass(frozen=True)
class Parts:
    """Contributions of the heads to one tensor of a forward pass.

    Attributes:
        place: kind and layer.
        shape: (batch, query) of the attention call.
        heads: how many.
        columns: all parts in one tensor, in the shape of the whole: the columns of head 0, then of
            head 1, and so on, in its last dimensions; None once the parts are in `each`.
        each: one part per head, in the shape of the whole.
        projection: each head's slice of the output projection, once it has been applied.
        projected: the parts directly behind the output projection.
        in_stream: whether the whole is a sum with the residual stream.
    """

    place: tuple[Kind, int]
    shape: tuple[int, int]
    heads: int
    columns: Tensor | None
    each: tuple[Tensor, ...] = ()
    projection: Float[Tensor, "head value_dim width"] | None = None
    projected: tuple[Tensor, ...] = ()
    in_stream: bool = False

    def apart(self) -> Parts:
        """Return the parts one by one: the columns of a head, and zeros elsewhere."""
        if self.columns is None:
            return self
        grouped = self.columns.reshape(*self.shape, self.heads, -1)
        each = []
        for head in range(self.heads):
            part = torch.zeros_like(grouped)
            part[:, :, head] = grouped[:, :, head]
            each.append(part.reshape(self.columns.shape))
        return self.replaced(each)

    def replaced(self, each: Sequence[Tensor]) -> Parts:
        """Return other parts of the same heads."""
        return replace(self, columns=None, each=tuple(each))

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Parts:
        """Return the parts after a linear operation, which leaves columns where they are."""
        if self.columns is not None:
            return replace(self, columns=change(self.columns))
        return self.replaced([change(part) for part in self.each])

    def split(self, change: Callable[[Tensor], Any]) -> Parts | list[Parts]:
        """Return the parts after a linear operation that may give several tensors."""
        changed = [change(part) for part in self.each]
        if isinstance(changed[0], Tensor):
            return self.replaced(changed)
        return [self.replaced(each) for each in zip(*changed, strict=True)]

    def plus(self, other: Parts) -> Parts | None:
        """Return the parts of a sum of two tensors; None if they come from different layers."""
        if self.place != other.place:
            return None
        one, two = self.apart(), other.apart()
        each = tuple(a + b for a, b in zip(one.each, two.each, strict=True))
        return replace(one, each=each, in_stream=self.in_stream or other.in_stream)

    def joined(self) -> Parts:
        """Return the same parts as those of a sum with the residual stream."""
        return replace(self, in_stream=True)

    def projected_by(self, matrix: Float[Tensor, "in out"]) -> Parts:
        """Return the parts after a product with a matrix, which is kept as output projection."""
        if self.columns is None:
            products = self.mapped(lambda part: part @ matrix)
            if self.projection is None or self.projection.shape[-1] != matrix.shape[0]:
                return replace(products, projection=None, projected=())
            return replace(products, projection=self.projection @ matrix, projected=products.each)
        size = matrix.shape[0] // self.heads
        slices = matrix.detach().reshape(self.heads, size, -1)
        each = [
            self.columns[..., head * size : (head + 1) * size] @ slices[head]
            for head in range(self.heads)
        ]
        return replace(self.replaced(each), projection=slices, projected=tuple(each))

    def by_position(self) -> tuple[Float[Tensor, "batch query width"], ...]:
        """Return each part with an axis for texts and one for positions."""
        return tuple(part.reshape(*self.shape, -1) for part in self.apart().each)

    def projected_by_position(self) -> tuple[Float[Tensor, "batch query width"], ...]:
        """Return the parts behind the output projection likewise; empty without one."""
        return tuple(part.reshape(*self.shape, -1) for part in self.projected)
