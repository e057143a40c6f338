"""Stacks of layers of different kinds: what each layer keeps, and how far it looks back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from attnviz.errors import InputError

__all__ = [
    "Layer",
    "LayerKind",
    "attention_layer",
    "latent_layer",
    "layer_bytes",
    "receptive_fields",
    "state_layer",
]

LayerKind = Literal["full attention", "window", "latent attention", "state"]


@dataclass(frozen=True)
class Layer:
    """Layer of a decoder, as far as its memory of earlier tokens goes.

    Attributes:
        kind: full attention, attention in a window, latent attention, or a state of fixed size.
        per_token: numbers kept per token.
        window: tokens that are kept and seen, the newest included; None for all.
        fixed: numbers kept whatever the length of the text.
    """

    kind: LayerKind
    per_token: int = 0
    window: int | None = None
    fixed: int = 0


def attention_layer(kv_heads: int, d_head: int, window: int | None = None) -> Layer:
    """Return a layer that keeps a key and a value per head: 2 · kv_heads · d_head numbers."""
    if window is not None and window < 1:
        raise InputError(f"a window holds at least one token, not {window}")
    kind: LayerKind = "full attention" if window is None else "window"
    return Layer(kind, 2 * kv_heads * d_head, window)


def latent_layer(rank: int, rotated: int) -> Layer:
    """Return a layer of latent attention (DeepSeek-AI 2024).

    Args:
        rank: numbers per token from which keys and values are made.
        rotated: numbers of the part of the key that carries the position, shared by all heads.
    """
    return Layer("latent attention", rank + rotated)


def state_layer(channels: int, state: int, convolution: int = 0) -> Layer:
    """Return a recurrent layer such as Mamba's.

    Args:
        channels: channels of the layer.
        state: numbers of the state per channel.
        convolution: last inputs per channel that a short convolution keeps.
    """
    return Layer("state", fixed=channels * (state + convolution))


def layer_bytes(
    layers: Sequence[Layer], tokens: int, *, batch: int = 1, bytes_per_number: float = 2
) -> Float[np.ndarray, " layer"]:
    """Return the bytes that each layer keeps after `tokens` tokens of `batch` texts.

    per_token · min(tokens, window) + fixed numbers, of `bytes_per_number` bytes each.

    Raises:
        InputError: a negative number.
    """
    if min(tokens, batch, bytes_per_number) < 0:
        raise InputError(f"numbers of tokens, texts and bytes are at least 0, not {tokens}, {batch}"
                         f" and {bytes_per_number}")  # fmt: skip
    kept = [tokens if one.window is None else min(tokens, one.window) for one in layers]
    return np.array(
        [
            (one.per_token * count + one.fixed) * batch * bytes_per_number
            for one, count in zip(layers, kept, strict=True)
        ],
        dtype=float,
    )


def receptive_fields(layers: Sequence[Layer]) -> Float[np.ndarray, " layer"]:
    """Return how many tokens back the output of each layer can depend, itself not counted.

    A window of w adds w - 1 to the field of the layer below. Full attention and a state reach all
    earlier tokens: infinity. A state holds them in a fixed number of numbers, so that reaching
    a token does not mean that it can be read exactly.
    """
    field, fields = 0.0, []
    for one in layers:
        field = np.inf if one.window is None else field + one.window - 1
        fields.append(field)
    return np.array(fields)
