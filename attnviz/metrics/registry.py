"""Registry of metrics: description and functions per row and per head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attnviz.attention import AttentionStack
from attnviz.errors import CaptureError
from attnviz.types import Metric

__all__ = ["definition", "describe", "mean_over_rows", "metric", "names", "per_head", "per_row"]

PerRow = Callable[[AttentionStack], Float[np.ndarray, "layer head query"]]
PerHead = Callable[[AttentionStack], Float[np.ndarray, "layer head"]]


@dataclass(frozen=True)
class _Entry:
    metric: Metric
    per_row: PerRow
    per_head: PerHead


_registry: dict[str, _Entry] = {}


def mean_over_rows(
    rows: Float[np.ndarray, "layer head query"],
) -> Float[np.ndarray, "layer head"]:
    """Return the mean over the rows where the metric exists; NaN where it exists in no row."""
    # nanmean warns about heads without rows, and warning filters are not thread-safe.
    exists = ~np.isnan(rows)
    total = np.where(exists, rows, 0.0).sum(-1, dtype=np.float64)
    count = exists.sum(-1)
    means: np.ndarray = total / np.where(count > 0, count, np.nan)
    return means.astype(np.float32)


def metric(
    description: Metric, per_head: Callable[[AttentionStack], np.ndarray] | None = None
) -> Callable[[PerRow], PerRow]:
    """Register the decorated function as the value of a metric per row.

    Args:
        description: name, label, unit, range and meaning.
        per_head: value per head; the mean over rows when None.
    """

    def register(per_row: PerRow) -> PerRow:
        def mean(stack: AttentionStack) -> np.ndarray:
            return mean_over_rows(per_row(stack))

        _registry[description.name] = _Entry(description, per_row, per_head or mean)
        return per_row

    return register


def names() -> tuple[str, ...]:
    """Return the names of all metrics, in the order of the menus."""
    return tuple(_registry)


def describe(name: str) -> Metric:
    """Return the label, unit, range and meaning of a metric.

    Raises:
        CaptureError: no metric of this name.
    """
    return _entry(name).metric


def definition(name: str) -> str:
    """Return the docstring of a metric: formula, unit, source, and what it does not mean."""
    return _entry(name).per_row.__doc__ or ""


def per_row(name: str, stack: AttentionStack) -> Float[np.ndarray, "layer head query"]:
    """Compute a metric for every row of weights; NaN where it does not exist for a row.

    Raises:
        CaptureError: no metric of this name.
    """
    return _entry(name).per_row(stack)


def per_head(name: str, stack: AttentionStack) -> Float[np.ndarray, "layer head"]:
    """Compute a metric for every head; NaN where it exists for no row of the text.

    >>> import attnviz
    >>> model = attnviz.load("gpt-classroom")
    >>> capture = attnviz.capture(model, "The cat sat on the mat. The cat sat")
    >>> entropy = attnviz.metrics.per_head("entropy", capture["self"])
    >>> entropy.shape == capture["self"].shape[:2]
    True
    >>> attnviz.metrics.describe("entropy").unit
    'nats'

    NaN too for a head with NaN or infinity in any row of weights or any value vector
    (`AttentionStack.not_finite`): the mean of its other rows would look like a healthy head's.

    Raises:
        CaptureError: no metric of this name.
    """
    return np.where(stack.not_finite, np.nan, _entry(name).per_head(stack)).astype(np.float32)


def _entry(name: str) -> _Entry:
    if name not in _registry:
        raise CaptureError(f"there is no metric '{name}'; there are {', '.join(_registry)}")
    return _registry[name]
