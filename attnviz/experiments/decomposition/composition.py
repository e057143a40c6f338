"""Composition of heads: how much of what one head writes another one reads, from weights alone.

With W_OV = W_V W_O of the earlier head and W_QK = W_Q W_K^T of the later one (vectors are rows),

    Q-composition  |W_OV W_QK| / (|W_OV| |W_QK|)
    K-composition  |W_OV W_QK^T| / (|W_OV| |W_QK|)
    V-composition  |W_OV W_OV'| / (|W_OV| |W_OV'|)

with Frobenius norms and W_OV' of the later head. Source: Elhage et al. 2021, "A Mathematical
Framework for Transformer Circuits". Rotations by position between queries and keys are left out.
Matrices that have nothing to do with each other score about 1/sqrt(width). Divisions by norms are
left out, those of queries and keys too: they change no direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.errors import InputError
from attnviz.experiments.decomposition.head_matrices import head_matrices
from attnviz.models import Model
from attnviz.types import Kind

__all__ = ["Composition", "composition"]

MISSING = (
    "A norm in {name} divides a part of each query or key alone, so both together have no matrix. "
    "Composition with values is known; patch queries and keys for the others."
)


@dataclass(frozen=True)
class Composition:
    """Composition scores between the heads of one stack; NaN unless the first is in a lower layer.

    Attributes:
        query: of [layer, head] that writes and [layer, head] that reads it into its queries.
        key: of what is read into keys; equal for heads with shared keys and equal queries only.
        value: of what is read into values.
        chance: root mean square of the score of two matrices in random relative rotation:
            1/sqrt(width).
        missing: sentence why scores are NaN throughout; empty if all are known.
    """

    query: Float[np.ndarray, "layer head layer head"]
    key: Float[np.ndarray, "layer head layer head"]
    value: Float[np.ndarray, "layer head layer head"]
    chance: float
    missing: str = ""


def composition(model: Model, kind: Kind | None = None) -> Composition:
    """Return the composition scores of all pairs of heads.

    >>> import attnviz
    >>> from attnviz.experiments.decomposition.composition import composition
    >>> scores = composition(attnviz.load("gpt-classroom"))
    >>> later = scores.key[0, 7, 1]  # the previous-token head, into the keys of layer 1
    >>> sorted(later.argsort()[-3:].tolist())
    [0, 3, 5]

    Args:
        model: from `attnviz.load`.
        kind: of self-attention; the first of the model when None.

    Raises:
        InputError: see `head_matrices`.
    """
    chosen: Kind = next(iter(model.info.heads)) if kind is None else kind
    matrices = head_matrices(model, chosen)
    if matrices.value is None:
        raise InputError(
            f"the value vectors of {model.info.name} are not linear in what a layer reads, so what "
            "a head writes has no matrix; patch outputs instead"
        )
    writes = (matrices.value, matrices.output)
    back = matrices.output.transpose(-1, -2)
    value = _scores(writes, matrices.value, back)
    chance = matrices.output.shape[-1] ** -0.5
    if matrices.query is None or matrices.key is None:
        unknown = np.full_like(value, np.nan)
        return Composition(unknown, unknown, value, chance, MISSING.format(name=model.info.name))
    query = _scores(writes, matrices.query, matrices.key)
    key = _scores(writes, matrices.key, matrices.query)
    return Composition(query, key, value, chance)


def _scores(
    writes: tuple[Float[Tensor, "layer head width dim"], Float[Tensor, "layer head dim width"]],
    left: Float[Tensor, "layer head width size"],
    right: Float[Tensor, "layer head width size"],
) -> Float[np.ndarray, "layer head layer head"]:
    """Return |A B L R^T| / (|A B| |L R^T|) of all pairs of heads in different layers.

    The norm of a product does not change when A and R are replaced by the triangles of their QR
    decompositions, so that no matrix is larger than the width times a head's dimension.
    """
    into, out = writes
    layers, heads = into.shape[:2]
    start = torch.linalg.qr(into).R @ out  # (layer, head, dim, width)
    end = left @ torch.linalg.qr(right).R.transpose(-1, -2)
    size_start, size_end = (one.flatten(2).norm(dim=-1) for one in (start, end))
    scores = np.full((layers, heads, layers, heads), np.nan)
    for earlier in range(layers):
        for later in range(earlier + 1, layers):
            for head in range(heads):
                product = start[earlier, head] @ end[later]  # (head, dim, size)
                size = product.flatten(1).norm(dim=-1)
                known = size_start[earlier, head] * size_end[later]
                scores[earlier, head, later] = (size / known).cpu().numpy()
    return scores
