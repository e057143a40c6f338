"""Quantile of Student's t, for intervals of a mean."""

from __future__ import annotations

import math

__all__ = ["t_quantile"]

_NORMAL = 1.959963984540054
"""The 97.5% quantile of the normal distribution."""


def t_quantile(degrees: int) -> float:
    """Return the 97.5% quantile of Student's t.

    Exact for one and two degrees of freedom; the expansion in 1 / degrees of Abramowitz and Stegun
    1964, 26.7.5, for more: within 0.6% at three degrees and within 0.02% from eight on.

    Raises:
        ValueError: fewer than one degree of freedom.
    """
    if degrees < 1:
        raise ValueError(f"Student's t has at least one degree of freedom, not {degrees}")
    if degrees == 1:
        return math.tan(0.475 * math.pi)
    if degrees == 2:
        return 0.95 * math.sqrt(2 / (1 - 0.95**2))
    z, n = _NORMAL, degrees
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4)
    )
