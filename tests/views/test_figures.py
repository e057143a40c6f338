"""Difference, rows, induction, vectors, and what all figures have in common."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from attnviz import views
from attnviz.errors import CaptureError, InputError
from attnviz.views.style.plotly_config import safe_filename
from attnviz.written_numbers import MINUS, decimals
from tests.views.samples import (
    HOSTILE,
    INDUCTION,
    make_attention,
    make_tokens,
    names,
    trace,
)

NOISE = np.random.default_rng(0).normal(size=(6, 6))
SIX = make_tokens(6)


def every_figure(theme="light"):
    weights, scores = make_attention(9)
    nine = make_tokens(9, HOSTILE)
    hostile = HOSTILE[0]
    return [
        views.draw_head_map(NOISE, metric=INDUCTION, theme=theme, title=hostile),
        views.draw_weights(
            weights, nine, nine, scores=scores, theme=theme, title=hostile, value_label=hostile
        ),
        views.draw_weights(weights, nine, nine, theme=theme, scale="hide_sinks"),
        views.draw_difference(
            NOISE, SIX, SIX, label_a=hostile, label_b=HOSTILE[3], theme=theme, title=hostile
        ),
        views.draw_rows(NOISE[0], SIX, label=hostile, unit=hostile, theme=theme, title=hostile),
        views.draw_stripe(weights, nine, period=4, scores=scores, theme=theme, title=hostile),
        views.draw_loss(NOISE[0], NOISE[1], theme=theme, unit=hostile, title=hostile),
        views.draw_scores_by_head({hostile: NOISE, "b": NOISE}, theme=theme, title=hostile),
        views.draw_vectors(NOISE, SIX, label=hostile, theme=theme, title=hostile),
        views.draw_products(NOISE[0], NOISE, SIX, theme=theme, query_label=hostile, title=hostile),
    ]


def texts(value):
    """Return every string anywhere in a figure."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)


OWN_MARKUP = re.compile(r'</?b>|<br>|<extra></extra>|<span style="color:#[0-9a-f]{6}">|</span>')
OWN_TEMPLATE = re.compile(r"%\{(x|y|z|text|hovertext|(meta|customdata)(\[\d\])?)(:[+.\df]+)?\}")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_from_users_is_escaped_everywhere(theme):
    for figure in every_figure(theme):
        for text in texts(json.loads(figure.to_json())):
            left = OWN_TEMPLATE.sub("", OWN_MARKUP.sub("", text))
            assert not set("<$") & set(left), (names(figure), text)
            assert "%{" not in left, (names(figure), text)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_figure_has_the_theme(theme):
    text = views.palette(theme).text
    for figure in every_figure(theme):
        assert figure.layout.font.color == text
        assert figure.layout.paper_bgcolor == "rgba(0,0,0,0)"
        assert figure.layout.height


def test_importing_the_views_needs_neither_torch_nor_streamlit():
    code = (
        "import sys, attnviz.views, attnviz.views.lines.bertviz_page; "
        "print([m for m in ('torch', 'streamlit', 'bertviz', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_everything_offered_exists():
    assert views.__all__ == sorted(views.__all__, key=lambda name: (name.islower(), name))
    for name in views.__all__:
        assert hasattr(views, name)


def test_a_difference_has_zero_in_the_middle():
    figure = views.draw_difference(NOISE, SIX, SIX, label_a="L0·H1", label_b="L2·H3")
    shown = trace(figure, "map")
    assert shown.zmin == -shown.zmax == -np.abs(NOISE).max()
    assert shown.colorscale[5] == (0.5, views.palette("light").diverging[5])
    assert "L2·H3 − L0·H1" in shown.hovertemplate
    limited = views.draw_difference(NOISE, SIX, SIX, label_a="a", label_b="b", limit=0.5)
    assert trace(limited, "map").zmax == 0.5


def test_equal_heads_have_a_difference_to_draw():
    figure = views.draw_difference(NOISE * 0, SIX, SIX, label_a="a", label_b="b")
    assert trace(figure, "map").zmax == 1
    with pytest.raises(InputError, match="above zero"):
        views.draw_difference(NOISE, SIX, SIX, label_a="a", label_b="b", limit=0)
    with pytest.raises(CaptureError, match=r"\(6, 6\)"):
        views.draw_difference(NOISE, SIX, make_tokens(5), label_a="a", label_b="b")


def test_a_row_without_a_number_has_no_bar_and_says_so():
    values = np.array([np.nan, 0.0, 1.5])
    figure = views.draw_rows(values, make_tokens(3), label="entropy", unit="nats")
    bars = trace(figure, "entropy")
    assert np.isnan(bars.y[0])
    assert bars.y[1] == 0
    assert tuple(trace(figure, "not defined").x) == ("[CLS] (0)",)
    assert figure.layout.yaxis.title.text == "entropy (nats)"


def test_rows_take_limits_and_set_off_the_selected_one():
    figure = views.draw_rows(np.ones(3), make_tokens(3), label="max", limits=(0, 2), selected=1)
    assert tuple(figure.layout.yaxis.range) == (0, 2)
    assert trace(figure, "max").marker.color[1] == views.palette("light").accent
    with pytest.raises(CaptureError, match=r"\(3,\)"):
        views.draw_rows(np.ones(3), make_tokens(4), label="max")


def corners(path):
    return [tuple(map(float, point.split())) for point in path[2:-2].split(" L ")]


@pytest.mark.parametrize(("period", "length"), [(2, 5), (4, 9), (7, 15)])
def test_the_stripes_frame_the_cells_of_their_offset(period, length):
    weights = np.full((length, length), 1 / length)
    figure = views.draw_stripe(weights, make_tokens(length), period=period)
    frames = {shape.name: corners(shape.path) for shape in figure.layout.shapes}
    for name, offset in (("induction", period - 1), ("duplicate", period)):
        points = frames[name]
        assert points[0] == (-0.5, offset - 0.5)
        assert points[3] == (length - offset - 0.5, length - 0.5)
        along = {round(y - x, 6) for x, y in points}
        assert along == {offset - 1, offset, offset + 1}
    said = " ".join(one.text for one in figure.layout.annotations)
    assert f"induction: key = query − {period - 1}" in said
    assert f"duplicate: key = query − {period}" in said


def test_a_period_must_leave_room_for_a_copy():
    weights = np.eye(5)
    with pytest.raises(InputError, match="less than the 5 tokens"):
        views.draw_stripe(weights, make_tokens(5), period=5)


def test_losses_are_two_lines_with_their_means_beyond_the_first_token():
    figure = views.draw_loss(np.array([np.nan, 4.0, 6.0]), np.array([3.0, 1.0, 0.5]))
    assert names(figure) == ["first copy, mean 5.00 nats", "second copy, mean 0.75 nats"]
    with pytest.raises(CaptureError, match=r"\(2,\)"):
        views.draw_loss(np.zeros(2), np.zeros(3))


def test_the_best_heads_come_first_and_undefined_ones_last():
    first = np.array([[0.1, 0.9], [np.nan, 0.5]])
    figure = views.draw_scores_by_head({"induction": first, "previous": 1 - first}, top=3)
    assert tuple(trace(figure, "induction").y) == ("L0·H1", "L1·H1", "L0·H0")
    assert tuple(trace(figure, "previous").x) == pytest.approx((0.1, 0.5, 0.9))
    by_other = views.draw_scores_by_head(
        {"induction": first, "previous": 1 - first}, sort_by="previous", kind="decoder"
    )
    assert trace(by_other, "induction").y[0] == "decoder L0·H0"
    with pytest.raises(InputError, match="at least one"):
        views.draw_scores_by_head({})
    with pytest.raises(InputError, match=r"'copying'.*induction"):
        views.draw_scores_by_head({"induction": first}, sort_by="copying")
    with pytest.raises(CaptureError, match="expected one"):
        views.draw_scores_by_head({"a": first, "b": first[:1]})


def test_vectors_are_symmetric_around_zero():
    figure = views.draw_vectors(NOISE[:, :4], SIX, label="query")
    shown = trace(figure, "map")
    assert shown.zmin == -shown.zmax
    assert tuple(shown.x) == ("0", "1", "2", "3")
    with pytest.raises(CaptureError, match="6 positions"):
        views.draw_vectors(NOISE[:3], SIX, label="query")


def test_products_add_up_to_the_score():
    query, keys = NOISE[0], NOISE
    shown = trace(views.draw_products(query, keys, SIX, scaling=0.5), "map")
    scores = 0.5 * keys @ query
    assert shown.z.sum(axis=1) == pytest.approx(scores, rel=1e-5)
    assert shown.customdata[:, 0, 0] == pytest.approx(scores, rel=1e-5)
    with pytest.raises(CaptureError, match=r"\(6, 5\)"):
        views.draw_products(query[:5], keys, SIX)


def test_scores_and_weights_are_written_at_the_end_of_each_row():
    query, keys = NOISE[0], NOISE
    weights = np.array([0.5, 0.25, np.nan, 0.125, 0.0625, 0.0625])
    figure = views.draw_products(query, keys, SIX, scaling=0.5, weights=weights)
    written = {note.y: note.text.replace("\u2007", " ") for note in figure.layout.annotations
               if note.yref == "y"}  # fmt: skip
    for row, score in enumerate(0.5 * keys @ query):
        shown = written[row].split()
        assert float(shown[0].replace(MINUS, "-")) == pytest.approx(score, abs=0.006)
        assert shown[1] == ("masked" if np.isnan(weights[row]) else decimals(weights[row], 3))
    plain = views.draw_products(query, keys, SIX, scaling=0.5)
    assert figure.layout.width > plain.layout.width


def test_the_modebar_sends_nothing_away_and_names_its_file():
    config = views.plot_config("L0·H1: <weights>/..", format="png")
    assert config["showSendToCloud"] is False
    assert config["displaylogo"] is False
    assert config["toImageButtonOptions"]["format"] == "png"
    assert config["toImageButtonOptions"]["filename"] == "L0-H1-weights"
    json.dumps(config)
    assert views.CONFIG["toImageButtonOptions"]["format"] == "svg"


@pytest.mark.parametrize("name", ["", "..", "///", "\x00"])
def test_a_file_always_has_a_name(name):
    assert safe_filename(name) == "attnviz"
