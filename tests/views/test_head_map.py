from __future__ import annotations

import numpy as np
import pytest

from attnviz.errors import CaptureError, InputError
from attnviz.types import Head
from attnviz.views import draw_head_map
from tests.views.samples import DISTANCE, INDUCTION, names, trace

VALUES = np.arange(12.0).reshape(3, 4) / 12


def test_layer_zero_is_at_the_top():
    figure = draw_head_map(VALUES, metric=INDUCTION)
    low, high = figure.layout.yaxis.range
    assert low > high
    assert tuple(trace(figure, "map").y) == ("L0", "L1", "L2")
    assert tuple(trace(figure, "map").x) == ("H0", "H1", "H2", "H3")


def test_every_head_can_be_clicked_and_says_where_it_is():
    targets = trace(draw_head_map(VALUES, metric=INDUCTION), "heads")
    assert [tuple(at) for at in targets.customdata] == [(i, j) for i in range(3) for j in range(4)]
    assert (targets.y[7], targets.x[7]) == ("L1", "H3")
    assert targets.text[7] == "induction 0.583"
    assert targets.hovertemplate[7].startswith("<b>L1·H3</b>")


def test_a_click_fades_nothing():
    targets = trace(draw_head_map(VALUES, metric=INDUCTION), "heads")
    assert targets.marker.opacity == 0
    assert targets.selected.marker.opacity == targets.unselected.marker.opacity == 0


def test_the_colours_span_the_limits_of_the_metric():
    bounded = trace(draw_head_map(VALUES, metric=INDUCTION), "map")
    assert (bounded.zmin, bounded.zmax) == (0, 1)
    open_end = trace(draw_head_map(VALUES * 40, metric=DISTANCE), "map")
    assert (open_end.zmin, open_end.zmax) == (0, pytest.approx(VALUES.max() * 40))


def test_equal_numbers_still_have_a_range():
    flat = trace(draw_head_map(np.zeros((2, 2)), metric=DISTANCE), "map")
    assert flat.zmax > flat.zmin


def test_an_undefined_head_is_hatched_and_says_so():
    values = VALUES.copy()
    values[1, 2] = np.nan
    figure = draw_head_map(values, metric=INDUCTION)
    assert np.isnan(trace(figure, "map").z[1, 2])
    hatching = trace(figure, "hatching")
    assert hatching.fillpattern.shape == "/"
    assert hatching.x[:4] == (1.5, 2.5, 2.5, 1.5)
    assert "not defined" in trace(figure, "heads").text[6]
    assert "hatching" not in names(draw_head_map(VALUES, metric=INDUCTION))


def test_all_heads_undefined_can_be_drawn():
    draw_head_map(np.full((2, 2), np.nan), metric=DISTANCE)


def test_numbers_are_written_where_they_fit():
    small = draw_head_map(VALUES, metric=INDUCTION)
    written = [trace(small, f"numbers on {name}").z for name in ("strong", "weak")]
    assert (np.isfinite(written[0]) ^ np.isfinite(written[1])).all()
    assert "numbers on weak" not in names(draw_head_map(np.zeros((48, 32)), metric=INDUCTION))


def test_the_selected_head_is_framed():
    figure = draw_head_map(VALUES, metric=INDUCTION, selected=Head("self", 2, 1))
    (frame,) = figure.layout.shapes
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == pytest.approx((0.5, 1.5, 1.5, 2.5), abs=0.1)


def test_a_head_of_another_kind_is_not_framed():
    figure = draw_head_map(VALUES, metric=INDUCTION, selected=Head("cross", 0, 0), kind="encoder")
    assert not figure.layout.shapes
    assert "encoder L0·H0" in trace(figure, "heads").hovertemplate[0]


def test_the_logarithmic_scale_spans_four_decades_and_says_the_number():
    figure = draw_head_map(VALUES, metric=INDUCTION, scale="log")
    shown = trace(figure, "map")
    assert (shown.zmin, shown.zmax) == (-4, 0)
    assert shown.z.min() == -4
    assert trace(figure, "heads").text[11] == "induction 0.917"


def test_a_very_large_map_can_be_read_but_not_clicked():
    figure = draw_head_map(np.zeros((80, 80)), metric=INDUCTION)
    assert "heads" not in names(figure)
    assert "%{z" in trace(figure, "map").hovertemplate


def test_errors_say_what_was_got():
    with pytest.raises(CaptureError, match=r"\(3,\)"):
        draw_head_map(np.zeros(3), metric=INDUCTION)
    with pytest.raises(InputError, match="L3·H0 is outside the map of 3 layers x 4 heads"):
        draw_head_map(VALUES, metric=INDUCTION, selected=Head("self", 3, 0))
    with pytest.raises(InputError, match="'ranked'"):
        draw_head_map(VALUES, metric=INDUCTION, scale="ranked")
