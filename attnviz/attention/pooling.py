"""Neighbouring numbers made one: the largest of them, or their sum."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["Gathering", "gathered"]

Gathering = Literal["max", "sum"]


def gathered(
    table: Float[Tensor, "row column"],
    edges: Int[np.ndarray, " edge"],
    how: Gathering,
) -> Float[Tensor, "row bin"]:
    """The largest number, or the sum, of the columns between each two edges.

    No bin may be empty.
    """
    if not table.is_cuda:
        reduce = np.maximum if how == "max" else np.add
        return torch.from_numpy(reduce.reduceat(table.numpy(), edges[:-1], axis=1))
    # Every bin as wide as the widest; a narrower one sees its last column twice, or adds 0.
    width = int(np.diff(edges).max())
    places = edges[:-1, None] + np.arange(width)
    inside = places < edges[1:, None]
    places = np.minimum(places, edges[1:, None] - 1)
    found = table[:, torch.as_tensor(places, device=table.device)]
    if how == "max":
        return found.amax(-1)
    return (found * torch.as_tensor(inside, device=table.device)).sum(-1)
