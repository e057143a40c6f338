"""Value-weighted norm of each edge: the length of what it brings into the residual stream.

    |A_ij f(x_j)|,   f(x) = (x W_V + b_V) W_O

Source: Kobayashi et al. 2020, "Attention is Not Only a Weight". A gate before the output projection
is left out.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from attnviz.attention import AttentionStack
from attnviz.errors import InputError
from attnviz.experiments.hooked_model import head_projections
from attnviz.models import Model
from attnviz.types import Head

__all__ = ["value_norms"]


def value_norms(model: Model, stack: AttentionStack, head: Head) -> Float[np.ndarray, "query key"]:
    """Return the value-weighted norm of every edge of a head.

    Args:
        model: whose head.
        stack: of the head's kind, on a text.
        head: which head.

    Raises:
        InputError: what the head adds could not be followed to the residual stream.
    """
    projection = head_projections(model)[head.kind][head.layer]
    if projection is None:
        raise InputError(f"what the heads of {model.info.name} add could not be followed")
    values = torch.from_numpy(stack.value(head.layer, head.head).copy()).float()
    lengths = (values @ projection[head.head].float().cpu()).norm(dim=-1).numpy()
    return stack.weights(head.layer, head.head) * lengths  # type: ignore[no-any-return]
