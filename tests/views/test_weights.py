from __future__ import annotations

import numpy as np
import pytest

from attnviz.errors import CaptureError, InputError
from attnviz.views import draw_weights
from attnviz.views.maps.weight_map import LOG_FLOOR, sink_columns
from tests.views.samples import bytes_of, make_attention, make_tokens, names, trace


def draw(count=10, **options):
    weights, scores = make_attention(count, sink=options.pop("sink", 0.0))
    tokens = make_tokens(count)
    return draw_weights(weights, tokens, tokens, scores=scores, **options)


def notes(figure):
    return [one.text for one in figure.layout.annotations]


def test_queries_run_down_and_keys_to_the_right():
    figure = draw(6)
    assert tuple(figure.layout.xaxis.range) == (-0.5, 5.5)
    assert tuple(figure.layout.yaxis.range) == (5.5, -0.5)
    assert figure.layout.xaxis.side == "top"


def test_repeated_labels_keep_places_of_their_own():
    shown = trace(draw(30), "map")
    assert len(set(shown.x)) == len(set(shown.y)) == 30
    assert shown.x[2] == "·quick (2)"


def test_long_labels_are_short_on_the_axis_and_whole_on_hover():
    figure = draw(6)
    name = "·antidisestablishmentarianism (3)"
    assert trace(figure, "map").x[3] == name
    assert figure.layout.xaxis.labelalias[name] == "·antidisestab…"
    assert figure.layout.xaxis2.labelalias is None


def test_every_label_has_a_tick_text():
    figure = draw(120)
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        assert len(axis.labelalias) == 120
        assert axis.type == "category"
        assert axis.tickmode is None, "Plotly itself leaves out what has no room"


def test_cells_follow_the_labelled_axes_when_zoomed():
    layout = draw(6).layout
    assert (layout.xaxis2.matches, layout.yaxis2.matches) == ("x", "y")


def test_masked_cells_are_open_and_differ_from_weight_zero():
    weights = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    scores = np.array([[0.0, -np.inf], [-20.0, 0.0]], dtype=np.float32)
    tokens = make_tokens(2)
    figure = draw_weights(weights, tokens, tokens, scores=scores)
    shown = trace(figure, "map").z
    assert np.isnan(shown[0, 1])
    assert shown[1, 0] == 0
    assert trace(figure, "hatching").zorder == -1
    assert "masked" in trace(figure, "empty").hovertemplate
    assert trace(figure, "map").hoverongaps is False


def test_the_invisible_layer_lies_below_the_map():
    order = names(draw(4))
    assert order.index("empty") < order.index("map")


def test_nan_weights_are_masked_without_scores():
    weights = np.array([[1.0, np.nan], [0.5, 0.5]])
    tokens = make_tokens(2)
    assert "hatching" in names(draw_weights(weights, tokens, tokens))


def test_full_attention_has_no_hatching():
    weights, scores = make_attention(5, 3, causal=False)
    figure = draw_weights(weights, make_tokens(5), make_tokens(3), scores=scores)
    assert "hatching" not in names(figure)
    assert not any("masked" in one for one in notes(figure))


def test_colours_start_at_zero_and_end_at_the_largest_weight():
    figure = draw(8)
    shown = trace(figure, "map")
    assert shown.zmin == 0
    assert shown.zmax == pytest.approx(np.nanmax(shown.z))
    assert trace(draw(8, limit=0.25), "map").zmax == 0.25


def test_hover_names_weight_score_and_rank():
    weights, scores = make_attention(4)
    tokens = make_tokens(4)
    ranks = np.argsort(np.argsort(-weights, axis=1), axis=1) + 1
    shown = trace(draw_weights(weights, tokens, tokens, scores=scores, ranks=ranks), "map")
    for part in ("%{y}", "%{x}", "weight %{z:.4f}", "score %{customdata[0]:.3f}", "rank %{text}"):
        assert part in shown.hovertemplate
    assert (np.asarray(shown.text) == ranks).all()
    assert shown.customdata.shape == (4, 4, 1)


def test_the_logarithmic_scale_is_clipped_and_still_says_the_weight():
    weights = np.array([[1.0, 0.0], [0.01, 0.99]], dtype=np.float32)
    tokens = make_tokens(2)
    shown = trace(draw_weights(weights, tokens, tokens, scale="log"), "map")
    assert shown.zmin == shown.z[0, 1] == np.log10(LOG_FLOOR)
    assert shown.zmax == 0
    assert shown.z[1, 0] == pytest.approx(-2)
    assert shown.customdata[1, 0, 0] == pytest.approx(0.01)
    assert "%{customdata[0]:.4f}" in shown.hovertemplate
    assert shown.colorbar.ticktext[0] == "≤0.0001"


def test_hidden_sinks_leave_the_colours_to_the_others_and_are_named():
    plain, hidden = draw(20, sink=0.95), draw(20, sink=0.95, scale="hide_sinks")
    assert trace(plain, "map").zmax > 0.9
    assert trace(hidden, "map").zmax < 0.1
    assert tuple(trace(hidden, "sinks").x) == ("[CLS] (0)",)
    said = " ".join(notes(hidden))
    assert "[CLS] (0)" in said
    assert "holds 9" in said
    assert "% of all weight" in said


def test_hiding_sinks_where_there_are_none_says_so():
    weights = np.full((4, 4), 0.25)
    tokens = make_tokens(4)
    figure = draw_weights(weights, tokens, tokens, scale="hide_sinks")
    assert "sinks" not in names(figure)
    assert any("no key holds over 30%" in one for one in notes(figure))


def test_several_sinks_are_counted():
    weights = np.tile([0.4, 0.4, 0.1, 0.1], (4, 1))
    tokens = make_tokens(4)
    figure = draw_weights(weights, tokens, tokens, scale="hide_sinks")
    assert tuple(trace(figure, "sinks").x) == ("[CLS] (0)", "·The (1)")
    assert any("hold 80% of all weight" in one for one in notes(figure))


def test_the_last_key_of_a_causal_map_is_no_sink_for_looking_at_itself():
    weights = np.eye(5)
    assert not sink_columns(weights, np.triu(np.ones((5, 5), dtype=bool), 1)).size


def test_the_selected_query_is_framed():
    (frame,) = draw(7, selected_query=3).layout.shapes
    assert (frame.y0, frame.y1, frame.x0, frame.x1) == (2.5, 3.5, -0.5, 6.5)


@pytest.mark.parametrize("count", [1, 2, 4, 6, 10, 40, 120])
def test_cells_are_square_at_the_natural_width(count):
    layout = draw(count).layout
    wide = (layout.width - layout.margin.l - layout.margin.r) / count
    high = (layout.height - layout.margin.t - layout.margin.b) / count
    if count > 2:
        assert wide == pytest.approx(high, rel=0.02)
    assert layout.width <= 900


def test_no_string_travels_per_cell():
    small, large = bytes_of(draw(20)), bytes_of(draw(80))
    cells = 80**2 - 20**2
    # Weight and score as float32, the invisible layer as int8, in base64; labels per token.
    assert large - small < cells * (4 + 4 + 1) * 1.4 + 60 * 2 * 300
    assert bytes_of(draw(120)) < 250_000


def test_errors_say_what_was_got():
    weights, scores = make_attention(4)
    tokens = make_tokens(4)
    with pytest.raises(CaptureError, match=r"weights has shape \(4, 4\).*= \(4, 5\)"):
        draw_weights(weights, tokens, make_tokens(5))
    with pytest.raises(CaptureError, match=r"scores has shape \(3, 4\)"):
        draw_weights(weights, tokens, tokens, scores=scores[:3])
    with pytest.raises(InputError, match="'sqrt'"):
        draw_weights(weights, tokens, tokens, scale="sqrt")
    with pytest.raises(InputError, match="rows 0 to 3"):
        draw_weights(weights, tokens, tokens, selected_query=4)


def test_the_largest_map_that_is_drawn_cell_by_cell_is_small_to_send() -> None:
    words = tuple(f"·word{at}" for at in range(128))
    tokens = make_tokens(128, words)
    weights, scores = make_attention(128)
    ranks = np.argsort(np.argsort(-weights, axis=1), axis=1) + 1
    figure = draw_weights(weights, tokens, tokens, scores=scores, ranks=ranks)
    assert bytes_of(figure) < 300_000
