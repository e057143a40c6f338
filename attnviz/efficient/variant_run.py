"""Run of a variant by its name: settings and shapes are checked, arrays come back as arrays."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

from torch import Tensor

from attnviz.efficient.methods.result import EfficientResult, prepare
from attnviz.efficient.variants import BY_NAME, describe
from attnviz.errors import InputError

__all__ = ["run"]


def run(
    name: str,
    query: Any,
    key: Any,
    value: Any,
    *,
    causal: bool = True,
    scale: float | None = None,
    **options: Any,
) -> EfficientResult:
    """Run one attention variant on given queries, keys and values.

    Args:
        name: one of `names`.
        query: [query, d], an array or a tensor; some variants also take [head, query, d].
        key: [key, d], likewise.
        value: [key, d_value], likewise.
        causal: whether query i sees keys 0 to i only.
        scale: factor of the products; 1 / sqrt(d) when None.
        options: the variant's settings.

    Returns:
        Arrays if arrays were given, tensors otherwise; computed in the precision of the inputs.

    Raises:
        InputError: an unknown variant or setting, shapes that do not fit, or a mask that is not
            possible for the variant.
    """
    variant = describe(name)
    function = BY_NAME[name][1]
    known = [one for one in inspect.signature(function).parameters if one != "inputs"]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(
            f"'{name}' has no setting {unknown[0]!r}; it has {', '.join(known) or 'none'}"
        )
    inputs = prepare(query, key, value, causal, scale)
    if inputs.query.dim() == 3 and not variant.heads:
        raise InputError(f"'{name}' runs on one head: give [position, number], without a head axis")
    return _returned(function(inputs, **options), inputs.arrays)


def _returned(result: EfficientResult, arrays: bool) -> EfficientResult:
    """Convert tensors to arrays where the inputs were arrays."""
    if not arrays:
        return result

    def convert(one: Any) -> Any:
        return one.numpy() if isinstance(one, Tensor) else one

    return replace(
        result,
        output=convert(result.output),
        weights=convert(result.weights),
        computed=convert(result.computed),
        details={name: convert(one) for name, one in result.details.items()},
    )
