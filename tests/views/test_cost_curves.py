"""Curves of costs and errors: numbers, axes, names."""

from __future__ import annotations

import numpy as np
import pytest

from attnviz.errors import InputError
from attnviz.views.charts.cost_curves import ERROR_FLOOR, TradePoints, draw_costs, draw_trades


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_costs_are_drawn_as_given(theme) -> None:
    tokens = np.array([10, 100, 1000])
    figure = draw_costs(
        tokens,
        {"exact": tokens**2.0, "<b>x</b>": tokens * 3.0},
        label="multiplications",
        marked=100,
        theme=theme,
    )
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"
    np.testing.assert_array_equal(figure.data[0].y, tokens**2.0)
    assert "<b>" not in figure.data[1].name
    assert figure.layout.shapes[0].x0 == 100


def test_costs_in_bytes_are_written_as_sizes() -> None:
    tokens = np.array([10, 100, 1000])
    figure = draw_costs(tokens, {"exact": tokens * 2e6}, label="bytes", in_bytes=True)
    assert list(figure.data[0].customdata) == ["20 MB", "200 MB", "2 GB"]
    assert list(figure.layout.yaxis.ticktext) == ["10 MB", "100 MB", "1 GB"]
    plain = draw_costs(tokens, {"exact": tokens * 2e6}, label="multiplications")
    assert list(plain.data[0].customdata)[-1] == "2,000,000,000"


def test_costs_that_have_no_logarithm_are_refused() -> None:
    with pytest.raises(InputError, match="positive number"):
        draw_costs(np.array([1, 2]), {"exact": np.array([0.0, 1.0])}, label="x")
    with pytest.raises(InputError, match="each of 2 lengths"):
        draw_costs(np.array([1, 2]), {"exact": np.array([1.0])}, label="x")


def test_an_error_of_zero_is_drawn_at_the_floor_and_read_as_zero() -> None:
    figure = draw_trades([TradePoints("window", [2, 4], [0.5, 1.0], [0.25, 0.0])])
    assert list(figure.data[0].y) == [0.25, ERROR_FLOOR]
    assert [one[1] for one in figure.data[0].customdata] == [0.25, 0.0]
    assert list(figure.data[0].x) == [0.5, 1.0]
