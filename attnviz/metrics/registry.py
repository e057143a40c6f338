"""The list of metrics: what each is called, how it is computed per row and per head."""

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
    """The mean over the rows where the metric exists; NaN where it exists in none."""
    # Not nanmean: it warns of empty rows, and silencing a warning is not safe between threads.
    exists = ~np.isnan(rows)
    total = np.where(exists, rows, 0.0).sum(-1, dtype=np.float64)
    count = exists.sum(-1)
    means: np.ndarray = total / np.where(count > 0, count, np.nan)
    return means.astype(np.float32)


def metric(
    description: Metric, per_head: Callable[[AttentionStack], np.ndarray] | None = None
) -> Callable[[PerRow], PerRow]:
    """Register the decorated function as a metric's value per row.

    Args:
        description: its name and how to read it.
        per_head: its value per head, where that is not the mean over rows.
    """

    def register(per_row: PerRow) -> PerRow:
        def mean(stack: AttentionStack) -> np.ndarray:
            return mean_over_rows(per_row(stack))

        _registry[description.name] = _Entry(description, per_row, per_head or mean)
        return per_row

    return register


def names() -> tuple[str, ...]:
    """The metrics there are, in the order of a menu."""
    return tuple(_registry)


def describe(name: str) -> Metric:
    """A metric's label, unit, range and meaning.

    Raises:
        CaptureError: there is no metric of that name.
    """
    return _entry(name).metric


def definition(name: str) -> str:
    """A metric's definition as its code states it: formula, source, and what it does not mean."""
    return _entry(name).per_row.__doc__ or ""


def per_row(name: str, stack: AttentionStack) -> Float[np.ndarray, "layer head query"]:
    """A metric for every row of weights; NaN where it does not exist (no previous token, ...).

    Raises:
        CaptureError: there is no metric of that name.
    """
    return _entry(name).per_row(stack)


def per_head(name: str, stack: AttentionStack) -> Float[np.ndarray, "layer head"]:
    """A metric for every head; NaN where no row of the text defines it.

    Raises:
        CaptureError: there is no metric of that name.
    """
    return _entry(name).per_head(stack)


def _entry(name: str) -> _Entry:
    if name not in _registry:
        raise CaptureError(f"there is no metric '{name}'; there are {', '.join(_registry)}")
    return _registry[name]
