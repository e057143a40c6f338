"""Multiplications of a forward pass of a decoder, from the shapes of its weights."""

from __future__ import annotations

import inspect

from torch import nn
from transformers.pytorch_utils import Conv1D

from attnviz.efficient.layer_stack import Layer
from attnviz.errors import InputError
from attnviz.experiments.generation.model_layers import layers_of
from attnviz.models import Model

__all__ = ["forward_multiplications", "reads_last_logits"]

EXPANSION = ".kv_b_proj"
"""Name of the matrix that makes keys and values from latent vectors, in all models of the
library."""

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
    up, not multiplied. States of Mamba count `PER_STATE` per number and token. Of a layer's experts
    each token is multiplied with those that its router chooses. Latent attention makes the keys and
    values of all cached tokens again in every pass.

    Args:
        model: a decoder.
        new: tokens that are read now, at least 1.
        cached: tokens that are in the cache.

    Raises:
        InputError: the model is no decoder, or has weights whose use is not known here.
    """
    if new < 1 or cached < 0:
        raise InputError(f"at least one token is read, after none or more, not {new} and {cached}")
    layers = layers_of(model)
    words = model.network.get_output_embeddings()
    total = 0
    for name, module in model.network.named_modules():
        if isinstance(module, (nn.Linear, Conv1D, nn.Conv1d)):
            times = new
            if module is words and reads_last_logits(model):
                times = 1
            elif name.endswith(EXPANSION):
                times = cached + new
            total += module.weight.numel() * times
        elif not isinstance(module, nn.Embedding):
            total += new * _other_weights(model, module)
    return total + sum(_of_pairs(model, layer, new, cached) for layer in layers if layer.per_token)


def _of_pairs(model: Model, layer: Layer, new: int, cached: int) -> int:
    """Return the multiplications of the scores and of the weighted sums of a layer."""
    keys = cached + new
    if cached and layer.window is not None:
        keys = min(keys, layer.window + new - 1)
    if layer.kind == "latent attention":
        config = model.network.config
        width = int(config.qk_nope_head_dim + config.qk_rope_head_dim + config.v_head_dim)
    else:
        width = layer.per_token // model.info.key_heads["self"]  # 2 d
    return model.info.heads["self"][1] * new * keys * width


def _other_weights(model: Model, module: nn.Module) -> int:
    """Return the multiplications per token with the weights that a module has besides linear maps.

    Raises:
        InputError: weights of an unknown kind.
    """
    total = 0
    for name, numbers in module.named_parameters(recurse=False):
        if name == "A_log":
            total += PER_STATE * numbers.numel()
        elif numbers.dim() < 2 or name.endswith("bias"):
            continue
        elif numbers.dim() == 3 and hasattr(module, "is_transposed"):  # experts that are dispatched
            total += numbers.numel() // len(numbers) * _chosen_experts(model)
        elif name == "weight" and isinstance(getattr(module, "top_k", None), int):  # a router
            total += numbers.numel()
        else:
            raise InputError(
                f"{model.info.name} has weights ({name}) of a kind whose multiplications are not "
                "counted here"
            )
    return total


def _chosen_experts(model: Model) -> int:
    chosen = getattr(model.network.config, "num_experts_per_tok", None)
    if not isinstance(chosen, int):
        raise InputError(
            f"the configuration of {model.info.name} does not say how many experts read a "
            "token, so that its multiplications are not counted"
        )
    return chosen
