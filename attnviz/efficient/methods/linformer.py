"""Linformer (Wang et al. 2020): keys and values projected from n to k positions."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.efficient.methods.result import EfficientResult, Inputs, softmax_rows
from attnviz.errors import InputError

__all__ = ["linformer", "projection_matrix"]

Projection = Literal["gaussian", "orthogonal", "identity", "permutation"]


def projection_matrix(
    rank: int, keys: int, projection: Projection, seed: int
) -> Float[Tensor, "rank key"]:
    """Return the projection E in float64, [rank, key].

    "gaussian": independent numbers of variance 1 / rank, as in the paper's theorem; "orthogonal":
    orthonormal rows; "identity" and "permutation" need rank = keys.
    """
    generator = torch.Generator().manual_seed(seed)
    if projection in ("identity", "permutation"):
        if rank != keys:
            raise InputError(f"the {projection} needs a rank of {keys}, not {rank}")
        order = (
            torch.arange(keys)
            if projection == "identity"
            else torch.randperm(keys, generator=generator)
        )
        identity: Tensor = torch.eye(keys, dtype=torch.float64)
        return identity[order]
    drawn = torch.randn(rank, keys, generator=generator, dtype=torch.float64)
    if projection == "gaussian":
        return drawn / math.sqrt(rank)
    if projection == "orthogonal":
        if rank > keys:
            raise InputError(f"at most {keys} rows can be orthogonal, not {rank}")
        columns: Tensor = torch.linalg.qr(drawn.mT)[0]
        return columns.mT
    raise InputError(f"there is no projection {projection!r}")


def linformer(
    inputs: Inputs, *, rank: int = 64, projection: Projection = "gaussian", seed: int = 0
) -> EfficientResult:
    """Compute softmax(Q (E K)ᵀ / sqrt(d)) E V.

    The weights that reach the keys are softmax(Q (E K)ᵀ) E: they can be negative. The softmax does
    not commute with a projection, so only the identity or a permutation is exact; a square
    orthogonal projection is not. `details["theorem_error"]` is the error of the product that the
    paper's theorem is about, P Eᵀ E V, relative to P V.

    Args:
        inputs: without a causal mask: the projection mixes all positions.
        rank: positions after the projection; capped at the number of keys.
        projection: how E is drawn.
        seed: of the drawing.

    Raises:
        InputError: a causal mask, or a rank below one.
    """
    if inputs.causal:
        raise InputError("Linformer mixes all positions and cannot be causal; use causal=False")
    if rank < 1:
        raise InputError(f"the rank is at least 1, not {rank}")
    rank = min(rank, inputs.keys)
    matrix = projection_matrix(rank, inputs.keys, projection, seed).to(inputs.key)  # (rank, key)
    small_key, small_value = matrix @ inputs.key, matrix @ inputs.value
    small = softmax_rows(inputs.query @ small_key.mT * inputs.scale)  # (query, rank)
    true = softmax_rows(inputs.query @ inputs.key.mT * inputs.scale) @ inputs.value
    theorem = softmax_rows(inputs.query @ inputs.key.mT * inputs.scale) @ matrix.mT @ small_value
    d, d_value = inputs.query.shape[-1], inputs.value.shape[-1]
    return EfficientResult(
        output=small @ small_value,
        weights=small @ matrix,
        computed=inputs.visible(),
        exact=projection in ("identity", "permutation"),
        operations=rank * (inputs.keys + inputs.queries) * (d + d_value),
        numbers_held=inputs.queries * rank + rank * (d + d_value),
        details={"theorem_error": float((theorem - true).norm() / true.norm())},
    )
