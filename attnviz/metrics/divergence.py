"""Divergence between the attention rows of two heads."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from attnviz.errors import CaptureError

__all__ = ["jensen_shannon"]


def jensen_shannon(
    first: Float[np.ndarray, "query key"], second: Float[np.ndarray, "query key"]
) -> Float[np.ndarray, " query"]:
    """Compute the Jensen-Shannon divergence of each pair of rows, nats, 0 (equal) to ln 2.

    JS(p, q) = KL(p || m) / 2 + KL(q || m) / 2 with m = (p + q) / 2. Source: Lin 1991; between
    heads, Clark et al. 2019. Rows are normalised to sum one first (with a learned sink they sum to
    less); NaN for a row without any weight.

    Raises:
        CaptureError: the two maps have different shapes.
    """
    if first.shape != second.shape:
        raise CaptureError(
            f"rows can be compared only over the same tokens: one map is {first.shape[0]} x "
            f"{first.shape[1]}, the other {second.shape[0]} x {second.shape[1]}"
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        p = first.astype(np.float64) / first.sum(-1, keepdims=True, dtype=np.float64)
        q = second.astype(np.float64) / second.sum(-1, keepdims=True, dtype=np.float64)
        middle = (p + q) / 2

        def divergence(row: np.ndarray) -> np.ndarray:
            terms: np.ndarray = np.where(row > 0, row * np.log(row / middle), 0.0)
            total: np.ndarray = terms.sum(-1)
            return total

        result: np.ndarray = (divergence(p) + divergence(q)) / 2
        result[np.isnan(p).any(-1) | np.isnan(q).any(-1)] = np.nan
    return result.clip(0.0, np.log(2)).astype(np.float32)
