"""Differences between a variant and exact attention on the same queries, keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from attnviz.efficient.costs import cost
from attnviz.efficient.knobs import knob
from attnviz.efficient.methods.result import EfficientResult
from attnviz.efficient.variant_run import run
from attnviz.efficient.variants import describe, names
from attnviz.errors import InputError

__all__ = ["Difference", "Trade", "best_within", "difference", "trades"]


@dataclass(frozen=True, eq=False)
class Difference:
    """Differences of one head, row by row.

    Attributes:
        moved: half the sum of |weight - exact weight| of each row: the share of the weight that
            lies on other keys (total variation); weights of pairs that are not computed are 0.
        output: |output - exact output| / |exact output| of each row; NaN where the exact output
            is zero.
        lost: exact weight on pairs that the variant does not compute, of each row.
    """

    moved: Float[np.ndarray, " query"]
    output: Float[np.ndarray, " query"]
    lost: Float[np.ndarray, " query"]


@dataclass(frozen=True)
class Trade:
    """Cost and error of a variant at a setting, on a head.

    Attributes:
        name: of the variant.
        setting: value of its knob; None for a variant without one.
        share: multiplications relative to exact attention.
        error: Frobenius norm of the difference of the outputs relative to the exact outputs.
    """

    name: str
    setting: int | None
    share: float
    error: float


def difference(variant: EfficientResult, exact: EfficientResult) -> Difference:
    """Return how weights and outputs of a variant differ from exact attention.

    Args:
        variant: of one head, as arrays; a variant with weights.
        exact: of the same head, as arrays.

    Raises:
        InputError: the two results have different shapes.
    """
    if np.shape(variant.output) != np.shape(exact.output):
        raise InputError(
            f"outputs of shapes {np.shape(variant.output)} and {np.shape(exact.output)} cannot be "
            "compared"
        )
    true = np.nan_to_num(np.asarray(exact.weights, dtype=np.float64))
    ours = np.nan_to_num(np.asarray(variant.weights, dtype=np.float64))
    wanted = np.asarray(exact.output, dtype=np.float64)
    apart = np.linalg.norm(np.asarray(variant.output, dtype=np.float64) - wanted, axis=-1)
    length = np.linalg.norm(wanted, axis=-1)
    return Difference(
        moved=np.abs(ours - true).sum(-1) / 2,
        output=np.divide(apart, length, out=np.full_like(apart, np.nan), where=length > 0),
        lost=np.where(np.asarray(variant.computed), 0.0, true).sum(-1),
    )


def best_within(choices: Sequence[Trade], share: float) -> list[Trade]:
    """Return the setting of least error of each variant that multiplies at most so much.

    Args:
        choices: from `trades`.
        share: multiplications relative to exact attention.

    Returns:
        One trade per variant that fits, the smallest error first.
    """
    best: dict[str, Trade] = {}
    for one in choices:
        before = best.get(one.name)
        if one.share <= share and (before is None or one.error < before.error):
            best[one.name] = one
    return sorted(best.values(), key=lambda one: one.error)


def trades(
    query: Any, key: Any, value: Any, *, causal: bool, scale: float | None = None
) -> list[Trade]:
    """Run every approximation that is possible here at each of its settings.

    Variants that are another model are left out: their difference from the softmax is no error.

    Args:
        query: [position, d], an array.
        key: [position, d].
        value: [position, d_value].
        causal: whether a query sees earlier keys only.
        scale: factor of the products.
    """
    query, key, value = (np.asarray(one, dtype=np.float64) for one in (query, key, value))
    exact = run("exact", query, key, value, causal=causal, scale=scale)
    size = {"d": query.shape[-1], "d_value": value.shape[-1], "causal": causal}
    whole = cost("exact", len(key), **size).operations
    length = float(np.linalg.norm(exact.output))
    points = []
    for name in names():
        described, setting = describe(name), knob(name)
        possible = described.causal if causal else described.bidirectional
        if described.relation != "approximate" or setting is None or not possible:
            continue
        if name == "grouped_query":  # shares keys between heads; here is one
            continue
        for chosen in setting.values:
            result = run(
                name, query, key, value, causal=causal, scale=scale, **{setting.name: chosen}
            )
            apart = float(np.linalg.norm(np.asarray(result.output) - exact.output))
            points.append(Trade(name, chosen, result.operations / whole, apart / length))
    return points
