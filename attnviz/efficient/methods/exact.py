"""Exact softmax attention (Vaswani et al. 2017): softmax(Q Kᵀ / sqrt(d)) V."""

from __future__ import annotations

from attnviz.efficient.methods.result import EfficientResult, Inputs, masked_attention

__all__ = ["exact"]


def exact(inputs: Inputs) -> EfficientResult:
    """Compute every visible pair: n² scores for n tokens, half of them with a causal mask."""
    return masked_attention(inputs, inputs.visible(), exact=True)
