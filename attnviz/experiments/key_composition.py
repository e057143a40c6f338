"""K-composition: how much the keys of a head read what an earlier head writes.

The number comes from the weights of the model alone, without a text.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.errors import ModelNotSupported
from attnviz.models import Model

__all__ = ["key_composition", "unrelated_composition"]


def key_composition(model: Model, layer: int) -> Float[np.ndarray, "earlier_layer earlier later"]:
    """Return the K-composition of the heads of a layer with the heads of all earlier layers.

    For an earlier head with the output map W_OV = W_O W_V and a later head with the score map
    W_QK = W_Qᵀ W_K it is ‖W_QK W_OV‖ / (‖W_QK‖ ‖W_OV‖), Frobenius norms, from 0 to 1. Gains of the
    layer norms are part of the maps; their division by the spread, biases and the layers in between
    are left out. It does not say that the model uses the path. Source: Elhage et al. 2021.

    Raises:
        ModelNotSupported: not a GPT-2: other models store their projections in other ways.
    """
    blocks = _blocks(model)
    heads = model.info.heads["self"][1]
    with torch.inference_mode():
        query, key, _, _ = _projections(blocks[layer], heads)
        rows = []
        for earlier in range(layer):
            _, _, value, out = _projections(blocks[earlier], heads)
            written = [out[head].T @ value[head] for head in range(heads)]
            rows.append(
                [
                    [float(_composed(query[later], key[later], one)) for later in range(heads)]
                    for one in written
                ]
            )
    return np.array(rows)


def unrelated_composition(width: int, head_width: int, *, seed: int = 0) -> float:
    """Return the K-composition of two heads with random weights: the mean of 16 draws."""
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        return torch.randn(head_width, width, generator=generator)

    return float(np.mean([float(_composed(draw(), draw(), draw().T @ draw())) for _ in range(16)]))


def _composed(
    query: Float[Tensor, "d width"], key: Float[Tensor, "d width"], written: Float[Tensor, "w w"]
) -> Tensor:
    scores = query.T @ key
    composed = scores @ written
    share: Tensor = composed.norm() / (scores.norm() * written.norm())
    return share


def _blocks(model: Model) -> Any:
    """Return the layers of a GPT-2."""
    if model.info.model_type != "gpt2":
        raise ModelNotSupported(
            f"K-composition reads the weights of a GPT-2, and {model.info.name} is a "
            f"{model.info.model_type}; choose gpt-classroom"
        )
    return model.network.transformer.h


def _projections(block: Any, heads: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return query, key and value [head, d, width] and output [head, d, width] of a layer.

    The gain of the layer norm before the attention is multiplied into the first three.
    """
    width = block.ln_1.weight.shape[0]
    read = block.attn.c_attn.weight * block.ln_1.weight[:, None]  # (width, 3 width)
    parts = [
        part.T.reshape(heads, width // heads, width).double() for part in read.split(width, dim=1)
    ]
    out = block.attn.c_proj.weight.reshape(heads, width // heads, width).double()
    return parts[0], parts[1], parts[2], out
