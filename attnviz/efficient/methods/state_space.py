"""Selective state space (Mamba, Gu and Dao 2023) as an implicit attention matrix.

h_t = exp(Δ_t A) h_{t-1} + Δ_t B_t x_t and y_t = C_t · h_t + D x_t. Unrolled, y = M x + D x with
M_ij = C_i · exp(A (Δ_{j+1} + … + Δ_i)) Δ_j B_j for j ≤ i (Ali et al. 2024). M is signed, its rows
have no fixed sum, and every block below the diagonal has at most the rank of the state.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.efficient.methods.result import EfficientResult, Inputs
from attnviz.errors import InputError

__all__ = ["implicit_matrix", "scan", "state_space"]


def implicit_matrix(
    output_map: Float[Tensor, "position state"],
    input_map: Float[Tensor, "position state"],
    step: Float[Tensor, " position"],
    decay: Float[Tensor, " state"],
) -> Float[Tensor, "query key"]:
    """Return M of y = M x, lower triangular.

    Args:
        output_map: C, one row per position.
        input_map: B, one row per position.
        step: Δ, positive.
        decay: diagonal of A, negative for a state that forgets.
    """
    elapsed = torch.cumsum(step, 0)  # (position)
    between = elapsed[:, None] - elapsed[None, :]  # (query, key): Δ_{j+1} + … + Δ_i
    past = torch.ones_like(between, dtype=torch.bool).tril()
    powers = torch.exp(between.masked_fill(~past, 0.0)[..., None] * decay)  # (query, key, state)
    matrix = torch.einsum("is,ijs,js->ij", output_map, powers, input_map * step[:, None])
    return matrix.masked_fill(~past, 0.0)


def scan(
    output_map: Float[Tensor, "position state"],
    input_map: Float[Tensor, "position state"],
    step: Float[Tensor, " position"],
    decay: Float[Tensor, " state"],
    signal: Float[Tensor, "position channel"],
) -> Float[Tensor, "position channel"]:
    """Return C_t · h_t position by position, from a state of [state, channel] numbers."""
    state = signal.new_zeros(decay.shape[0], signal.shape[1])
    outputs = []
    for at in range(len(signal)):
        state = torch.exp(step[at] * decay)[:, None] * state
        state = state + torch.outer(step[at] * input_map[at], signal[at])
        outputs.append(output_map[at] @ state)
    return torch.stack(outputs)


def state_space(
    inputs: Inputs,
    *,
    memory: int = 1,
    step: Any = None,
    decay: Any = None,
    skip: float = 0.0,
) -> EfficientResult:
    """Compute y = M x + skip x, with C in the place of queries, B of keys and x of values.

    Args:
        inputs: C [position, state], B [position, state] and x [position, channel]; causal.
        memory: tokens after which the slowest part of the state has faded to 1/e, with the first
            decays; the step is 1 / memory.
        step: Δ [position]; 1 / memory everywhere when None.
        decay: diagonal of A [state]; -1, -2, … -state when None, as Mamba begins.
        skip: D.

    Raises:
        InputError: no causal mask, unequal lengths, no memory, or steps and decays that do not fit.
    """
    if memory < 1:
        raise InputError(f"the memory is at least one token, not {memory}")
    if not inputs.causal or inputs.queries != inputs.keys:
        raise InputError("a state space reads from left to right; use causal=True and one text")
    count, size = inputs.key.shape
    steps = _vector(step, count, inputs.key, torch.full((count,), 1 / memory, dtype=torch.float64))
    decays = _vector(decay, size, inputs.key, -torch.arange(1, size + 1))
    if bool((steps < 0).any()):
        raise InputError("steps are at least zero")
    matrix = implicit_matrix(inputs.query, inputs.key, steps, decays)
    channels = int(inputs.value.shape[-1])
    visible = inputs.visible()
    return EfficientResult(
        output=matrix @ inputs.value + skip * inputs.value,
        weights=matrix.masked_fill(~visible, math.nan),
        computed=visible,
        exact=False,
        operations=3 * count * size * channels,
        numbers_held=size * channels,
        details={"state_numbers": size * channels},
    )


def _vector(given: Any, count: int, like: Tensor, default: Tensor) -> Tensor:
    vector = default if given is None else torch.as_tensor(np.asarray(given))
    if vector.shape != (count,):
        raise InputError(f"expected {count} numbers, not {tuple(vector.shape)}")
    return vector.to(like)
