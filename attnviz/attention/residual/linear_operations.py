"""Operations of a forward pass, applied to the parts of a tensor instead of the tensor.

A tensor is the sum of its parts and a rest. An operation that is linear in the tensor maps each
part as it maps the tensor; a norm does so once its statistics are held fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "FACTORS",
    "KEEPS_ORDER",
    "LINEAR",
    "NORMS",
    "PRODUCTS",
    "SUMS",
    "base_name",
    "factors",
    "normed",
    "out_of_place",
]

SUMS = frozenset(("add", "sub"))
FACTORS = frozenset(("mul", "div"))
PRODUCTS = frozenset(("linear", "addmm", "mm", "bmm", "matmul"))
NORMS = frozenset(("layer_norm", "native_layer_norm", "rms_norm", "_fused_rms_norm"))

KEEPS_ORDER = frozenset(
    (
        *("view", "reshape", "_unsafe_view", "flatten", "unflatten", "unsqueeze", "squeeze"),
        *("contiguous", "clone", "detach", "alias", "lift_fresh"),
        *("to", "_to_copy", "type_as", "dropout"),  # dropout of a model that is used: nothing
    )
)
"""The numbers stay the same and in the same order; only shape, memory or precision change."""

LINEAR = KEEPS_ORDER | frozenset(
    (
        *("transpose", "permute", "t", "movedim", "swapaxes", "expand", "expand_as", "roll"),
        *("slice", "select", "narrow", "index", "index_select", "constant_pad_nd"),
        *("split", "split_with_sizes", "chunk", "unbind", "mean", "sum", "neg"),
    )
)
"""Linear in their first argument; no other argument holds numbers that are followed."""


def base_name(operation: Any) -> str:
    """Return the name of an operation without namespace, variant and the mark of in-place work."""
    name = str(operation._schema.name).rpartition("::")[2]
    return name if name.endswith("__") else name.removesuffix("_")


def out_of_place(operation: Any) -> Callable[..., Any]:
    """Return the variant of an operation that leaves its arguments as they are."""
    if not operation._schema.is_mutable:
        return operation  # type: ignore[no-any-return]
    packet = getattr(torch.ops.aten, base_name(operation))
    return getattr(packet, operation._overloadname)  # type: ignore[no-any-return]


def factors(name: str, arguments: Sequence[Any]) -> tuple[Any, Any]:
    """Return both factors of one of `PRODUCTS`, as for a matrix product; a bias is left out."""
    if name == "addmm":
        return arguments[1], arguments[2]
    left, right = arguments[0], arguments[1]
    return left, right.t() if name == "linear" else right


def normed(
    name: str, whole: Tensor, arguments: Sequence[Any], parts: Sequence[Tensor]
) -> list[Tensor]:
    """Return what a norm makes of parts, with the statistics that it computes from the whole.

    RMSNorm multiplies by w / sqrt(mean(x²) + eps). LayerNorm subtracts the mean, of each part its
    own, and multiplies by w / sqrt(var(x) + eps); its bias belongs to no part.

    Args:
        name: one of `NORMS`.
        whole: its first argument.
        arguments: those behind: shape and weight; bias and eps, or eps.
        parts: of `whole`, each of its shape.
    """
    centred = "layer" in name
    shape = arguments[0]
    weight = arguments[1] if len(arguments) > 1 else None
    at = 3 if centred else 2  # the place of eps
    eps = arguments[at] if len(arguments) > at else 1e-5 if centred else None
    if eps is None:
        eps = torch.finfo(whole.dtype).eps
    dims = tuple(range(-len(shape), 0))

    def centre(values: Tensor) -> Tensor:
        values = values.float()
        return values - values.mean(dims, keepdim=True) if centred else values

    scale = (centre(whole).square().mean(dims, keepdim=True) + eps).rsqrt()
    if weight is not None:
        scale = scale * weight.float()
    return [(centre(part) * scale).to(whole.dtype) for part in parts]
