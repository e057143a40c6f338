"""Axes of bytes: ticks at round numbers, written as sizes everywhere."""

from __future__ import annotations

import math
from typing import Any

from attnviz.written_numbers import size

__all__ = ["size_axis", "size_powers_axis"]

MOST_TICKS = 6
"""Ticks of an axis, at most, zero included."""

MOST_POWERS = 4
"""Ticks of a logarithmic axis, at most: on a phone there is room for so many."""


def size_axis(largest: float) -> dict[str, Any]:
    """Return Plotly's settings of an axis from 0 to a number of bytes, with 3 to 6 round ticks."""
    if largest <= 0:
        return {"tickvals": [0], "ticktext": [size(0)], "rangemode": "tozero"}
    power = 10.0 ** math.floor(math.log10(largest))
    steps = [one * scale for scale in (power / 10, power) for one in (1, 2, 5)]
    step = next(one for one in steps if one >= 1 and largest / one < MOST_TICKS)
    values = [at * step for at in range(math.floor(largest / step) + 1)]
    return {"tickvals": values, "ticktext": [size(one) for one in values], "rangemode": "tozero"}


def size_powers_axis(least: float, largest: float) -> dict[str, Any]:
    """Return Plotly's settings of a logarithmic axis of bytes, with ticks at powers of ten.

    Args:
        least: smallest number of bytes on the axis, above 0.
        largest: largest one; half a power of ten is added at both ends.
    """
    low, high = math.log10(least) - 0.5, math.log10(largest) + 0.5
    apart = math.ceil((high - low) / MOST_POWERS)
    values = [10.0**at for at in range(math.ceil(low), math.floor(high) + 1, apart)]
    return {
        "type": "log",
        "range": [low, high],
        "tickvals": values,
        "ticktext": [size(one) for one in values],
    }
