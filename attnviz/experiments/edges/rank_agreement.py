"""Rank agreement of two measures of the same edges: Spearman's correlation of ranks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

__all__ = ["rank_agreement", "ranks"]


def ranks(values: Float[np.ndarray, " edge"]) -> Float[np.ndarray, " edge"]:
    """Return the ranks of numbers, from 1; equal numbers have the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((2 * last - counts + 1) / 2)[inverse]


def rank_agreement(one: Float[np.ndarray, " edge"], other: Float[np.ndarray, " edge"]) -> float:
    """Return Spearman's rank correlation, -1 to 1, over pairs of finite numbers.

    NaN with fewer than three pairs, or if one side has equal numbers only. Source: Spearman 1904.
    """
    known = np.isfinite(one) & np.isfinite(other)
    if known.sum() < 3:
        return float("nan")
    first, second = (ranks(part[known]) for part in (one, other))
    apart = [part - part.mean() for part in (first, second)]
    size = float(np.sqrt((apart[0] ** 2).sum() * (apart[1] ** 2).sum()))
    return float((apart[0] * apart[1]).sum()) / size if size > 0 else float("nan")
