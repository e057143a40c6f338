"""Multiplications of a forward pass of a decoder, from the shapes of its weights."""

from __future__ import annotations

import inspect

from torch import nn
from transformers.pytorch_utils import Conv1D

from attnviz.errors import InputError
from attnviz.experiments.generation.model_layers import layers_of
from attnviz.models import Model

__all__ = ["forward_multiplications", "reads_last_logits"]

PER_STATE = 4
"""Multiplications per number of a state and token: step times decay, decay times state, input
times step, and state times output."""


def reads_last_logits(model: Model) -> bool:
    """Return whether the model can compute the logits of the last token alone."""
    return "logits_to_keep" in inspect.signature(model.network.forward).parameters


def forward_multiplications(model: Model, new: int, cached: int = 0) -> int:
    """Return the multiplications with which a decoder reads `new` tokens after `cached` ones.

        new · (numbers of all weight matrices) + layers · heads · new · keys · 2 · d

    The matrix of the words is counted once, where the library computes the logits of the last token
    alone. Keys are cached + new, at most a layer's window where a cache is read; masked pairs
    count, as the library's eager attention multiplies them too. Tables of embeddings are looked
    up, not multiplied. States of Mamba count `PER_STATE` per number and token.

    Args:
        model: a decoder of dense layers.
        new: tokens that are read now, at least 1.
        cached: tokens that are in the cache.

    Raises:
        InputError: the model is no decoder, or has weights of another kind, such as experts.
    """
    if new < 1 or cached < 0:
        raise InputError(f"at least one token is read, after none or more, not {new} and {cached}")
    layers = layers_of(model)
    words = model.network.get_output_embeddings()
    total = 0
    for module in model.network.modules():
        if isinstance(module, (nn.Linear, Conv1D, nn.Conv1d)):
            times = 1 if module is words and reads_last_logits(model) else new
            total += module.weight.numel() * times
        elif not isinstance(module, nn.Embedding):
            for name, numbers in module.named_parameters(recurse=False):
                if name == "A_log":
                    total += PER_STATE * numbers.numel() * new
                elif numbers.dim() > 1:
                    raise InputError(
                        f"{model.info.name} has weights ({name}) whose multiplications are not "
                        "counted here, such as those of experts"
                    )
    heads, groups = model.info.heads["self"][1], model.info.key_heads["self"]
    for layer in layers:
        if layer.per_token:
            keys = cached + new
            if cached and layer.window is not None:
                keys = min(keys, layer.window + new - 1)
            total += heads * new * keys * (layer.per_token // groups)  # 2 d per head and pair
    return total
