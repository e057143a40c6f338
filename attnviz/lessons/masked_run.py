"""Runs of a model under a mask of the lesson's choice."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnviz.models import Model

__all__ = ["losses_under", "run_under"]


def run_under(
    model: Model, ids: Int[Tensor, "text token"], visible: Bool[Tensor, "query key"], **options: Any
) -> Any:
    """Return the library's output for texts of which each query sees the keys given.

    `options` are those of the model's `forward`.
    """
    device, dtype = model.network.device, model.network.dtype
    mask = torch.where(visible, 0.0, torch.finfo(dtype).min).to(device, dtype)
    with torch.inference_mode():
        return model.network(
            ids.to(device), attention_mask=mask.expand(len(ids), 1, *mask.shape), **options
        )


def losses_under(
    model: Model, ids: Int[Tensor, " token"], visible: Bool[Tensor, "query key"]
) -> Float[np.ndarray, " token"]:
    """Return the loss of every token but the first, nats, where each query sees the keys given."""
    logits = run_under(model, ids[None], visible).logits[0, :-1].float()
    losses = torch.nn.functional.cross_entropy(logits, ids[1:].to(logits.device), reduction="none")
    result: np.ndarray = losses.double().cpu().numpy()
    return result
