"""Nyströmformer (Xiong et al. 2021): the softmax matrix from landmarks."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.efficient.methods.result import EfficientResult, Inputs, softmax_rows
from attnviz.errors import InputError

__all__ = ["iterative_inverse", "landmark_means", "nystromformer"]


def landmark_means(
    vectors: Float[Tensor, "position d"], landmarks: int
) -> Float[Tensor, "landmark d"]:
    """Return the means of `landmarks` segments of nearly equal length."""
    edges = [len(vectors) * at // landmarks for at in range(landmarks + 1)]
    return torch.stack([vectors[low:high].mean(0) for low, high in pairwise(edges)])


def iterative_inverse(matrix: Float[Tensor, "n n"], iterations: int) -> Float[Tensor, "n n"]:
    """Return the paper's approximate pseudo-inverse after some third-order iterations.

    Z ← Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4, beginning at Aᵀ / (|A|₁ |A|∞).
    """
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    size = matrix.abs()
    inverse = matrix.mT / (size.sum(0).max() * size.sum(1).max())
    for _ in range(iterations):
        product = matrix @ inverse
        inner = 15 * identity - product @ (7 * identity - product)
        inverse = inverse @ (13 * identity - product @ inner) / 4
    return inverse


def nystromformer(
    inputs: Inputs, *, landmarks: int = 32, iterations: int | None = 6
) -> EfficientResult:
    """Compute softmax(Q K̃ᵀ) softmax(Q̃ K̃ᵀ)⁺ softmax(Q̃ Kᵀ) V with landmarks Q̃ and K̃.

    The product of the three matrices can have negative weights.

    Args:
        inputs: without a causal mask: landmarks mix positions.
        landmarks: number of segments whose means stand for all positions.
        iterations: of the approximate inverse; None computes the pseudo-inverse.

    Raises:
        InputError: a causal mask, or a number of landmarks below one.
    """
    if inputs.causal:
        raise InputError("Nyströmformer mixes positions and cannot be causal; use causal=False")
    if landmarks < 1:
        raise InputError(f"at least one landmark is needed, not {landmarks}")
    count = min(landmarks, inputs.queries, inputs.keys)
    query_marks = landmark_means(inputs.query, count)
    key_marks = landmark_means(inputs.key, count)
    left = softmax_rows(inputs.query @ key_marks.mT * inputs.scale)  # (query, landmark)
    core = softmax_rows(query_marks @ key_marks.mT * inputs.scale)  # (landmark, landmark)
    right = softmax_rows(query_marks @ inputs.key.mT * inputs.scale)  # (landmark, key)
    inverse = torch.linalg.pinv(core) if iterations is None else iterative_inverse(core, iterations)
    d, d_value = inputs.query.shape[-1], inputs.value.shape[-1]
    pairs = count * (inputs.queries + inputs.keys + count)
    every = count == inputs.queries == inputs.keys and iterations is None
    return EfficientResult(
        output=left @ (inverse @ (right @ inputs.value)),
        weights=left @ inverse @ right,
        computed=inputs.visible(),
        exact=every,
        operations=pairs * d + count * (inputs.keys + count + inputs.queries) * d_value,
        numbers_held=pairs,
        details={"landmarks": count},
    )
