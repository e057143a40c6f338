"""A start for learned position embeddings from which neighbours are easy to tell apart."""

import torch
from torch import Tensor


def sinusoids(positions: int, width: int, amplitude: float) -> Tensor:
    """Sines and cosines of falling frequency, [position, width] (Vaswani et al. 2017).

    Training changes them like any other weight; they only spare it the search for an order among
    `positions` unrelated random vectors, and heads that look at a neighbour form sooner.
    """
    frequencies = torch.exp(-torch.arange(0, width, 2) / width * torch.log(torch.tensor(1e4)))
    angles = torch.arange(positions)[:, None] * frequencies  # (position, width / 2)
    return amplitude * torch.cat([angles.sin(), angles.cos()], dim=1)
