"""Linear attention (Katharopoulos et al. 2020): φ(q)·φ(k) in place of exp(q·k).

Another model, not an approximation of the softmax. Because the sum over keys can be taken once,
φ(q) · Σ φ(k) vᵀ, it runs in linear time, and as a recurrence over tokens with a state of fixed
size.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from attnviz.efficient.methods.result import EfficientResult, Inputs

__all__ = ["kernel_attention", "linear", "recurrent_attention"]


def linear(inputs: Inputs) -> EfficientResult:
    """Compute attention with φ(x) = elu(x) + 1."""
    root = math.sqrt(abs(inputs.scale))
    query = functional.elu(inputs.query * root) + 1
    key = functional.elu(inputs.key * root) + 1
    return kernel_attention(inputs, query, key)


def kernel_attention(
    inputs: Inputs, query: Float[Tensor, "query feature"], key: Float[Tensor, "key feature"]
) -> EfficientResult:
    """Compute attention whose unnormalised weights are products of features.

    The matrix of weights is made here, to be shown; the output equals `recurrent_attention`, which
    never holds it.
    """
    visible = inputs.visible()
    products = (query @ key.mT).masked_fill(~visible, 0.0)  # (query, key)
    total = products.sum(-1, keepdim=True).clamp_min(torch.finfo(products.dtype).tiny)
    weights = products / total
    features, d_value = int(query.shape[-1]), int(inputs.value.shape[-1])
    return EfficientResult(
        output=weights @ inputs.value,
        weights=weights.masked_fill(~visible, math.nan),
        computed=visible,
        exact=False,
        operations=(inputs.keys + inputs.queries) * features * (d_value + 1),
        numbers_held=features * (d_value + 1),
        details={"features": features},
    )


def recurrent_attention(
    inputs: Inputs, query: Float[Tensor, "query feature"], key: Float[Tensor, "key feature"]
) -> Float[Tensor, "query d_value"]:
    """Return the causal output token by token, from a state of fixed size.

    S_t = S_{t-1} + φ(k_t) v_tᵀ, z_t = z_{t-1} + φ(k_t), output = S_tᵀ φ(q_t) / (z_t · φ(q_t)).
    """
    features, d_value = key.shape[-1], inputs.value.shape[-1]
    state = key.new_zeros(features, d_value)
    total = key.new_zeros(features)
    outputs = []
    offset = inputs.keys - inputs.queries
    for position in range(inputs.keys):
        state = state + torch.outer(key[position], inputs.value[position])
        total = total + key[position]
        if position >= offset:
            one = query[position - offset]
            outputs.append(one @ state / (one @ total))
    return torch.stack(outputs)
