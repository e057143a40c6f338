"""Attention functions of the library: one to train with, and one that returns its weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel

LONGEST_EAGER = 256  # tokens


def choose_attention(model: PreTrainedModel, device: torch.device, length: int) -> None:
    """Use plain matrix products for short rows on a CPU, fused attention for all others.

    With heads of 32 numbers and rows of at most 256 tokens the fused function's backward pass is
    the slowest step of a training on a CPU; the plain one is up to 1.8 times as fast. With 1,024
    tokens the fused one is twice as fast.
    """
    eager = device.type == "cpu" and length <= LONGEST_EAGER
    name = "eager" if eager else "sdpa"
    if model.config._attn_implementation != name:
        model.set_attn_implementation(name)


def attention_layers(model: PreTrainedModel) -> list[int]:
    """Return the zero-based numbers of the layers with attention, ascending."""
    kinds = getattr(model.config, "layer_types", None)
    if kinds is None:
        return list(range(model.config.num_hidden_layers))
    return [layer for layer, kind in enumerate(kinds) if kind != "linear_attention"]


@contextmanager
def eager_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let the model return its attention weights for a while."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)
