"""Result of one attention variant, and the pieces that every variant shares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnviz.errors import InputError

__all__ = [
    "EfficientResult",
    "Inputs",
    "causal_mask",
    "masked_attention",
    "prepare",
    "softmax_rows",
]


@dataclass(frozen=True, eq=False)
class EfficientResult:
    """Output, weights and costs of a variant.

    Attributes:
        output: [query, d_value] (with a leading head axis where the inputs have one).
        weights: [query, key], NaN where a pair is not computed; None where the method has none.
            Rows of methods that are not a softmax can be negative or miss a sum of one.
        computed: mask of the pairs that are computed, [query, key].
        exact: whether the method computes softmax attention exactly on these inputs.
        operations: multiplications in products of queries and keys and of weights and values.
        numbers_held: intermediate numbers that exist at the same time.
        details: further numbers of one method, by name.
    """

    output: Any
    weights: Any
    computed: Any
    exact: bool
    operations: int
    numbers_held: int
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Inputs:
    """Queries, keys and values as tensors of one type.

    Attributes:
        query: [query, d], or [head, query, d].
        key: [key, d], or [head, key, d].
        value: [key, d_value], or [head, key, d_value].
        causal: whether query i sees only keys 0 to i (aligned at the last position).
        scale: factor of the products; 1 / sqrt(d) by default.
        arrays: whether the caller gave numpy arrays, and gets numpy arrays back.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    causal: bool
    scale: float
    arrays: bool

    @property
    def queries(self) -> int:
        """Number of queries."""
        return int(self.query.shape[-2])

    @property
    def keys(self) -> int:
        """Number of keys."""
        return int(self.key.shape[-2])

    @property
    def width(self) -> int:
        """Multiplications per computed pair: d for the score, d_value for the output."""
        return int(self.query.shape[-1] + self.value.shape[-1])

    def visible(self) -> Tensor:
        """Return the mask of the pairs that exact attention computes, [query, key]."""
        if not self.causal:
            return torch.ones(self.queries, self.keys, dtype=torch.bool, device=self.query.device)
        return causal_mask(self.queries, self.keys, self.query.device)


def causal_mask(queries: int, keys: int, device: torch.device | None = None) -> Tensor:
    """Return the mask of a causal model, [query, key]: the last query sees the last key."""
    rows = torch.arange(keys - queries, keys, device=device)[:, None]
    return rows >= torch.arange(keys, device=device)[None, :]


def prepare(query: Any, key: Any, value: Any, causal: bool, scale: float | None) -> Inputs:
    """Check queries, keys and values and return them as tensors.

    Raises:
        InputError: shapes that do not fit, no positions, numbers that are not finite, or more
            queries than keys with a causal mask.
    """
    arrays = not any(isinstance(one, Tensor) for one in (query, key, value))
    tensors = []
    for name, given in (("query", query), ("key", key), ("value", value)):
        tensor = given if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))
        if not tensor.is_floating_point():
            tensor = tensor.to(torch.float64)
        if tensor.dim() not in (2, 3) or 0 in tensor.shape:
            raise InputError(
                f"{name} has shape {tuple(tensor.shape)}; expected [position, number] or "
                "[head, position, number], none of them empty"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{name} has numbers that are not finite")
        tensors.append(tensor)
    kind = torch.promote_types(
        torch.promote_types(tensors[0].dtype, tensors[1].dtype), tensors[2].dtype
    )
    q, k, v = (tensor.detach().to(kind) for tensor in tensors)
    if q.dim() != k.dim() or k.dim() != v.dim() or q.shape[-1] != k.shape[-1]:
        raise InputError(
            f"query {tuple(q.shape)}, key {tuple(k.shape)} and value {tuple(v.shape)} do not fit: "
            "queries and keys need the same width, and all three a head axis or none"
        )
    if k.shape[:-1] != v.shape[:-1]:
        raise InputError(f"there are keys {tuple(k.shape)} for values {tuple(v.shape)}")
    if causal and q.shape[-2] > k.shape[-2]:
        raise InputError(
            f"a causal mask needs at least as many keys as queries; there are {q.shape[-2]} "
            f"queries and {k.shape[-2]} keys"
        )
    return Inputs(q, k, v, causal, 1 / math.sqrt(q.shape[-1]) if scale is None else scale, arrays)


def softmax_rows(scores: Float[Tensor, "query key"]) -> Float[Tensor, "query key"]:
    """Return the softmax of each row; a row without a visible key (all -inf) becomes zeros."""
    highest = scores.amax(-1, keepdim=True)
    powers = torch.exp(scores - torch.where(torch.isfinite(highest), highest, 0.0))
    return powers / powers.sum(-1, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)


def masked_attention(
    inputs: Inputs,
    mask: Bool[Tensor, "query key"],
    *,
    exact: bool,
    details: Mapping[str, Any] | None = None,
) -> EfficientResult:
    """Compute softmax attention over the pairs of a mask.

    The full matrix of scores is made here, to be read; a real implementation computes only the
    pairs of the mask, and `operations` counts those.
    """
    scores = inputs.query @ inputs.key.mT * inputs.scale  # [..., query, key]
    weights = softmax_rows(scores.masked_fill(~mask, -math.inf))
    pairs = int(mask.sum()) * (inputs.query.shape[0] if inputs.query.dim() == 3 else 1)
    return EfficientResult(
        output=weights @ inputs.value,  # [..., query, d_value]
        weights=weights.masked_fill(~mask, math.nan),
        computed=mask,
        exact=exact,
        operations=pairs * inputs.width,
        numbers_held=pairs,
        details=dict(details or {}),
    )
