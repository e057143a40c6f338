"""Axes of bytes: their ticks are round, few and written apart."""

from __future__ import annotations

import numpy as np
import pytest

from attnviz.views.style.size_axis import MOST_POWERS, MOST_TICKS, size_axis, size_powers_axis


@pytest.mark.parametrize("largest", [*np.geomspace(3, 9e12, 400), 5.0, 1000.0, 6e9])
def test_ticks_from_zero_are_few_and_round(largest: float) -> None:
    axis = size_axis(largest)
    values = axis["tickvals"]
    assert 3 <= len(values) <= MOST_TICKS
    step = values[1]
    np.testing.assert_allclose(values, step * np.arange(len(values)))
    assert values[-1] <= largest < values[-1] + step
    assert f"{step:e}"[:8] in ("1.000000", "2.000000", "5.000000")
    assert len(set(axis["ticktext"])) == len(values)


def test_texts_of_ticks_are_sizes() -> None:
    assert size_axis(2.2e9)["ticktext"] == ["0 bytes", "500 MB", "1 GB", "1.5 GB", "2 GB"]
    assert size_axis(0)["ticktext"] == ["0 bytes"]


@pytest.mark.parametrize("decades", range(13))
def test_powers_of_ten_lie_on_the_axis(decades: int) -> None:
    axis = size_powers_axis(204_800, 204_800 * 10.0**decades)
    low, high = axis["range"]
    assert 1 <= len(axis["tickvals"]) <= MOST_POWERS
    assert all(low <= np.log10(one) <= high for one in axis["tickvals"])
    assert low < np.log10(204_800) and np.log10(204_800) + decades < high
    assert size_powers_axis(999, 2e9)["ticktext"] == ["1 kB", "100 kB", "10 MB", "1 GB"]
