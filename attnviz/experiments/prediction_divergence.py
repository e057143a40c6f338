"""Divergence of two predictions of a token."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["prediction_divergence"]


def prediction_divergence(
    first: Float[Tensor, "*position word"], second: Float[Tensor, "*position word"]
) -> Float[Tensor, "*position"]:
    """Return KL(first || second) in nats, float64, from logarithms of probabilities.

    A token that both exclude (-inf) counts as 0.
    """
    shares = first.exp()
    apart = torch.where(shares > 0, shares * (first - second), 0.0)
    return apart.double().sum(-1).clamp_min(0)
