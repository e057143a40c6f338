"""Kinds of the layers of a loaded decoder, and what each keeps of earlier tokens."""

from __future__ import annotations

from typing import Any

from attnviz.efficient.layer_stack import Layer, attention_layer, latent_layer, state_layer
from attnviz.errors import InputError
from attnviz.models import Model

__all__ = ["layers_of"]

WINDOWED = "sliding_attention"
FULL = "full_attention"


def layers_of(model: Model) -> tuple[Layer, ...]:
    """Return the layers of a decoder, first to last.

    The formulas are those of attention with keys and values per head, with and without a window,
    of latent attention (DeepSeek-AI 2024), and of Mamba's state. The library's cache of a window
    holds window - 1 tokens between two steps: the next query brings the last one.

    Raises:
        InputError: the model is no decoder, or has layers of another kind.
    """
    info, config = model.info, model.network.config
    if info.family != "decoder":
        raise InputError(f"{info.name} is an {info.family}; choose a GPT")
    latent = getattr(config, "kv_lora_rank", None) is not None
    if latent and getattr(config, "index_topk", None) is not None:
        raise InputError(
            f"{info.name} chooses keys with an indexer, whose separate cache is not counted here"
        )
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    attends = set(info.layers.get("self", ()))
    count = len(attends) + len(info.other_layers)
    return tuple(
        _latent(config)
        if latent and at in attends
        else _attention(config, at, info.key_heads["self"], int(width))
        if at in attends
        else _state(config, at, info.name)
        for at in range(count)
    )


def _attention(config: Any, layer: int, key_heads: int, width: int) -> Layer:
    kinds = getattr(config, "layer_types", None) or ()
    window = getattr(config, "sliding_window", None)
    kind = kinds[layer] if layer < len(kinds) else (WINDOWED if window and not kinds else FULL)
    return attention_layer(key_heads, width, int(window) if kind == WINDOWED and window else None)


def _latent(config: Any) -> Layer:
    return latent_layer(int(config.kv_lora_rank), int(config.qk_rope_head_dim))


def _state(config: Any, layer: int, name: str) -> Layer:
    sizes = [getattr(config, f"mamba_{part}", None) for part in ("expand", "d_state", "d_conv")]
    if None in sizes:
        raise InputError(f"layer {layer} of {name} is of a kind whose memory is not computed here")
    expand, state, convolution = (int(one) for one in sizes if one is not None)
    return state_layer(expand * int(config.hidden_size), state, convolution)
