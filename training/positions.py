"""Initial values of learned position embeddings that separate neighbours."""

import torch
from torch import Tensor


def sinusoids(positions: int, width: int, amplitude: float) -> Tensor:
    """Return sines and cosines of falling frequency, [position, width] (Vaswani et al. 2017).

    The wavelengths run from 6 to 600 positions, since these models read at most 256.

    Training changes them like any other weight; they only spare it the search for an order among
    `positions` unrelated random vectors, and heads that look at a neighbour form sooner.
    """
    frequencies = torch.exp(-torch.arange(0, width, 2) / width * torch.log(torch.tensor(100.0)))
    angles = torch.arange(positions)[:, None] * frequencies  # (position, width / 2)
    return amplitude * torch.cat([angles.sin(), angles.cos()], dim=1)
