"""Strip of layers, and measured numbers in front of a prediction."""

from __future__ import annotations

import numpy as np
import pytest

from attnviz.errors import InputError
from attnviz.views.charts.layer_strip import draw_layers
from attnviz.views.charts.predicted_bars import draw_budget_losses, draw_predicted
from attnviz.views.style.theme import palette


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_layer_has_both_bars(theme) -> None:
    kinds = ("window", "full attention", "window")
    figure = draw_layers(
        kinds, np.array([8.0, 80, 8]), np.array([4, np.inf, np.inf]), tokens=10, theme=theme
    )
    assert len(figure.data) == 4
    reach = {int(x): y for bar in figure.data[::2] for x, y in zip(bar.x, bar.y, strict=True)}
    kept = {int(x): y for bar in figure.data[1::2] for x, y in zip(bar.x, bar.y, strict=True)}
    assert reach == {0: 5, 1: 10, 2: 10}  # itself counted, cut at the length of the text
    assert kept == {0: 8, 1: 80, 2: 8}
    assert figure.data[0].customdata[0][0] == "5 tokens"
    assert figure.data[0].customdata[1][0] == "all tokens"
    assert len({bar.width for bar in figure.data}) == 1
    assert [bar.showlegend for bar in figure.data] == [True, False, True, False]


def test_layers_without_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="as many"):
        draw_layers(("window",), np.array([1.0, 2]), np.array([1.0]), tokens=3)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_predicted_budget_stays_behind_the_measured_one(theme) -> None:
    budgets = np.array([2, 4, 8])
    figure = draw_budget_losses(
        budgets, np.array([5.0, 4, 3.1]), whole=3.0, allowed=0.2, predicted=4, measured=8,
        theme=theme,
    )  # fmt: skip
    grey, truth = (
        next(one for one in figure.layout.shapes if one.type == "line" and one.x0 == x)
        for x in (4, 8)
    )
    assert grey.layer == "below"
    assert grey.line.color == palette(theme).muted
    assert truth.line.color == palette(theme).accent
    assert figure.layout.annotations[0].x == pytest.approx(np.log10(4))
    np.testing.assert_array_equal(figure.data[0].y, [5.0, 4, 3.1])
    without = draw_budget_losses(
        budgets, np.array([5.0, 4, 3.1]), whole=3.0, allowed=0.2, predicted=4, measured=None,
        label="bits <per> number",
    )  # fmt: skip
    assert without.layout.xaxis.title.text == "bits &lt;per&gt; number"
    assert len(without.layout.shapes) == len(figure.layout.shapes) - 1
    with pytest.raises(InputError, match="as many"):
        draw_budget_losses(budgets, np.zeros(2), whole=0, allowed=1, predicted=2, measured=None)


def test_the_predicted_bar_has_a_grey_band() -> None:
    figure = draw_predicted({"<i>a": 0.1, "b": 0.4}, predicted="b", label="error")
    (band,) = figure.layout.shapes
    assert (band.y0 + band.y1) / 2 == 1
    assert band.layer == "below"
    assert "<i>" not in figure.data[0].y[0]
    with pytest.raises(InputError, match="there is no"):
        draw_predicted({"a": 1.0}, predicted="c", label="error")
