"""Charts of candidates, of lines over tokens, and of memory."""

from __future__ import annotations

import numpy as np
import pytest

from attnviz.errors import CaptureError, InputError
from attnviz.types import Tokens
from attnviz.views.charts.candidate_bars import draw_candidates
from attnviz.views.charts.memory_sizes import draw_memory, draw_memory_points
from attnviz.views.charts.token_lines import draw_token_lines

TOKENS = Tokens(np.arange(3), ("a", "a", "<b>"), np.zeros(3, bool))


def test_candidates_have_a_bar_per_state_and_equal_labels_stay_apart() -> None:
    states = {"before": [0.5, 0.3, 0.1], "after": [0.2, 0.3, 0.4]}
    figure = draw_candidates(TOKENS.labels, states, chosen=1)
    assert [list(bar.x) for bar in figure.data] == list(states.values())
    assert list(figure.data[0].y) == [0, 1, 2]
    assert list(figure.layout.yaxis.ticktext) == ["a", "<b>a</b>", "&lt;b&gt;"]
    assert figure.layout.xaxis.tickformat == "~%"  # ".0%" writes 0% below each of 0.1%, 0.2%, 0.3%
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # the first is on top
    with pytest.raises(InputError, match="2 probabilities for 3 tokens"):
        draw_candidates(TOKENS.labels, {"x": [0.1, 0.2]})


def test_lines_have_a_point_per_token_and_gaps() -> None:
    curves = {"one": np.array([np.nan, 1.0, 2.0]), "two": np.array([0.5, 0.5, 0.5])}
    figure = draw_token_lines(curves, TOKENS, label="loss", unit="nats")
    assert [line.name for line in figure.data] == ["one", "two"]
    assert len(set(figure.data[0].x)) == 3
    assert np.isnan(figure.data[0].y[0])
    assert figure.layout.yaxis.title.text == "loss (nats)"
    with pytest.raises(CaptureError):
        draw_token_lines({"short": np.zeros(2)}, TOKENS, label="loss")


def test_memory_is_drawn_from_zero_and_written_in_words() -> None:
    figure = draw_memory({"a": 999.0, "<b>": 2_147_483_648})
    assert list(figure.data[0].text) == ["999 bytes", "2.15 GB"]
    assert list(figure.data[0].customdata) == ["999", "2,147,483,648"]
    assert list(figure.data[0].y) == ["a", "&lt;b&gt;"]
    assert figure.layout.xaxis.type != "log" and figure.layout.xaxis.tickvals[0] == 0


def test_memory_over_powers_of_ten_is_drawn_as_points() -> None:
    figure = draw_memory_points({"a": 999.0, "b": 2_147_483_648}, marked="a")
    assert figure.data[0].type == "scatter"
    assert list(figure.data[0].textposition) == ["middle right", "middle left"]
    assert len(set(figure.data[0].marker.color)) == len(set(figure.data[0].marker.symbol)) == 2
    assert figure.layout.xaxis.type == "log"
