"""Probabilities of the next token of a decoder."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int

from attnviz.models import Model

__all__ = ["next_token_probabilities"]


def next_token_probabilities(
    model: Model, ids: Int[np.ndarray, " position"]
) -> Float[np.ndarray, " token"]:
    """Return the probability of each token of the vocabulary after a text."""
    given = torch.tensor([ids.tolist()], device=model.network.device)
    with torch.inference_mode():
        logits = model.network(input_ids=given, attention_mask=torch.ones_like(given)).logits
    shares: np.ndarray = logits[0, -1].double().softmax(-1).cpu().numpy()
    return shares
