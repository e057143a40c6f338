"""Which of the library's attention functions to train with, and the one that shows its weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel


def choose_attention(model: PreTrainedModel, device: torch.device) -> None:
    """Plain matrix products on a CPU, fused attention on a GPU.

    With heads of 32 numbers and texts of at most 256 tokens the fused function's backward pass is
    the slowest step of a training on a CPU; the plain one is up to 1.8 times as fast.
    """
    model.set_attn_implementation("eager" if device.type == "cpu" else "sdpa")


@contextmanager
def eager_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let the model return its attention weights for a while."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)
