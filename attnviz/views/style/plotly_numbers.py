"""Numbers of which some do not exist."""

from __future__ import annotations

import numpy as np

__all__ = ["known_mean"]


def known_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis of what is defined; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean: np.ndarray = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean
