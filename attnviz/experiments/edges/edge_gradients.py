"""Gradient times weight of each edge of a head.

A_ij dy/dA_ij, with y the log-probability of the token that the model predicts at one position. This
is the first-order estimate of how much y would lose without the edge. Sources: Denil et al. 2014
(gradient times input); Barkan et al. 2021, "Grad-SAM" (on attention weights).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.attention.call_changes import changing
from attnviz.experiments.edges.one_head import OneHead, weights_of
from attnviz.experiments.patching.text_pair import check_position
from attnviz.models import Encoded, Model, call_options, model_inputs
from attnviz.types import Head

__all__ = ["edge_gradients"]


def edge_gradients(
    model: Model, encoded: Encoded, head: Head, position: int = -1
) -> Float[np.ndarray, "query key"]:
    """Return gradient times weight of every edge of a head, nats.

    Args:
        model: with a trained language head.
        encoded: a text, with a target for an encoder-decoder.
        head: which head.
        position: position whose prediction is explained.

    Raises:
        InputError: as `weights_of`; the model predicts no tokens; no such position.
    """
    check_position(model, encoded, position)
    weights = weights_of(model, encoded, head).requires_grad_()

    def change(output: Tensor, values: Tensor) -> Tensor:
        return weights[None] @ values

    inputs = model_inputs(model, [encoded])
    change_ = OneHead(model.sites.places(), head, change)
    with torch.enable_grad(), changing(change_):
        logits = model.network(**inputs, **call_options(model, model.network)).logits
        row = logits[0, position].float().log_softmax(-1)
        # autograd.grad: backward() would leave gradients on the weights of the model.
        (slope,) = torch.autograd.grad(row.max(), weights)
    products: np.ndarray = (slope * weights.detach()).cpu().numpy()
    return products
