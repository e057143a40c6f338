"""Performer (Choromanski et al. 2021): random features whose products estimate exp(q·k)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.efficient.methods.linear import kernel_attention
from attnviz.efficient.methods.result import EfficientResult, Inputs
from attnviz.errors import InputError

__all__ = ["performer", "positive_features", "random_directions"]


def random_directions(
    features: int, d: int, seed: int, orthogonal: bool
) -> Float[Tensor, "feature d"]:
    """Return Gaussian directions in float64; orthogonal ones keep Gaussian lengths (FAVOR+)."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(features, d, generator=generator, dtype=torch.float64)
    if not orthogonal:
        return drawn
    lengths: Tensor = drawn.norm(dim=1)
    blocks: list[Tensor] = []
    for start in range(0, features, d):
        square = torch.randn(d, d, generator=generator, dtype=torch.float64)
        q, r = torch.linalg.qr(square)
        uniform: Tensor = q * torch.sign(torch.diagonal(r))  # uniformly distributed directions
        blocks.append(uniform[: min(d, features - start)])
    directions: Tensor = torch.cat(blocks)
    return directions * lengths[:, None]


def positive_features(
    vectors: Float[Tensor, "position d"], directions: Float[Tensor, "feature d"]
) -> Float[Tensor, "position feature"]:
    """Return φ(x) = exp(ω·x - |x|²/2) / sqrt(m), so that E[φ(x)·φ(y)] = exp(x·y).

    For independent directions the mean squared error of the estimate is
    exp(|x+y|²) exp(x·y)² (1 - exp(-|x+y|²)) / m (the paper's lemma 2).
    """
    exponents = vectors @ directions.mT - vectors.square().sum(-1, keepdim=True) / 2
    return torch.exp(exponents) / math.sqrt(len(directions))


def performer(
    inputs: Inputs, *, features: int = 256, seed: int = 0, orthogonal: bool = True
) -> EfficientResult:
    """Compute attention with estimated kernels, in time linear in the number of tokens.

    Each estimate of exp(q·k) is unbiased; the normalised weight is a ratio of estimates and is
    biased.

    Args:
        inputs: queries, keys and values.
        features: number m of random features.
        seed: of the directions.
        orthogonal: draw orthogonal directions, which lowers the variance.

    Raises:
        InputError: fewer than one feature.
    """
    if features < 1:
        raise InputError(f"at least one feature is needed, not {features}")
    directions = random_directions(features, inputs.query.shape[-1], seed, orthogonal)
    directions = directions.to(inputs.query)
    root = math.sqrt(abs(inputs.scale))
    query = positive_features(inputs.query * root * math.copysign(1, inputs.scale), directions)
    key = positive_features(inputs.key * root, directions)
    return kernel_attention(inputs, query, key)
