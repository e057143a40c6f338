"""Histogram of texts: every text is in one interval, and texts without a value in none."""

from __future__ import annotations

import numpy as np
import pytest

from attnviz.views.charts.text_histogram import BINS, draw_texts

VALUES = np.array([0.0, 0.04, 0.05, 0.5, 0.97, 1.0, np.nan, 1.0 + 1e-7], np.float32)


def test_every_text_is_counted_once_in_its_interval() -> None:
    figure = draw_texts(VALUES, label="Induction", limits=(0.0, 1.0))
    (bars,) = figure.data
    expected = [0] * BINS
    for value in VALUES:
        if not np.isnan(value):
            expected[min(int(np.float64(value) * BINS), BINS - 1)] += 1
    assert list(bars.y) == expected and sum(bars.y) == 7
    assert bars.customdata[0] == "0.00 to 0.05"
    assert tuple(figure.layout.xaxis.range) == (0.0, 1.0)
    assert "Induction" in figure.layout.xaxis.title.text


@pytest.mark.parametrize("values", [[3.0, 3.0, 3.0], [np.nan, np.nan], [-2.5, 4.0]])
def test_without_limits_the_axis_reaches_from_the_lowest_to_the_highest(
    values: list[float],
) -> None:
    figure = draw_texts(np.array(values, np.float32), label="Score", unit="nats", theme="dark")
    (bars,) = figure.data
    assert sum(bars.y) == np.isfinite(values).sum()
    low, high = figure.layout.xaxis.range
    assert low < high
    assert all(low <= one <= high for one in values if np.isfinite(one))
    assert "Score (nats)" in figure.layout.xaxis.title.text


def test_labels_are_escaped() -> None:
    figure = draw_texts(VALUES, label="<b>x</b>", limits=(0.0, 1.0))
    assert "<b>x</b>" not in figure.layout.xaxis.title.text
    assert "<b>x</b>" not in figure.data[0].hovertemplate
