"""Comparisons in which a number that is not finite (NaN, infinity) never counts as good."""

from __future__ import annotations

import numpy as np

__all__ = ["exceeds", "largest_difference", "largest_size"]


def exceeds(value: float, bound: float) -> bool:
    """Return True if `value` is above `bound` or NaN; `value > bound` is False for NaN."""
    return not value <= bound


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return max |ours - theirs| over the cells where `theirs` is finite.

    Infinite where `ours` is not finite in such a cell. NaN if `theirs` has no finite cell: then
    there is nothing to compare with.
    """
    known = np.isfinite(theirs)
    if not known.any():
        return float("nan")
    apart = np.abs(np.where(known, ours, 0.0) - np.where(known, theirs, 0.0))
    largest = float(apart.max())
    return largest if np.isfinite(largest) else float("inf")


def largest_size(values: np.ndarray) -> float:
    """Return the largest absolute value among the finite ones; 0 if there is none."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
