"""Figures as plain dictionaries: valid, and sent as Plotly's own objects would send them."""

from __future__ import annotations

import json

import numpy as np
import plotly.graph_objects as go
import plotly.io
import pytest

from attnviz import metrics
from attnviz.types import Head
from attnviz.views.maps.head_map import draw_head_map, head_map_spec
from attnviz.views.style.figure_spec import PlainFigure, Spec


@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (12, 12), (30, 70)])
@pytest.mark.parametrize("masked", [0, 1, None])
def test_the_plain_map_is_what_plotly_would_send(
    shape: tuple[int, int], masked: int | None
) -> None:
    values = np.random.default_rng(0).random(shape)
    values.flat[: values.size if masked is None else masked] = np.nan
    options = {"metric": metrics.describe("entropy"), "selected": Head("self", 0, 0)}
    plain = PlainFigure(head_map_spec(values, **options)).to_dict()
    sent = json.loads(plotly.io.to_json(plain, validate=False))
    checked = json.loads(draw_head_map(values, **options).to_json())
    # A graph object adds an empty trace to an empty template.
    assert sent["layout"].pop("template") == {}
    assert checked["layout"].pop("template") == {"data": {"scatter": [{"type": "scatter"}]}}
    assert sent == checked


def test_a_property_that_plotly_does_not_know_is_refused_where_it_is_checked() -> None:
    wrong = Spec([{"type": "heatmap", "z": [[1]], "colourscale": "x"}], {})
    assert PlainFigure(wrong).to_dict()["data"] == wrong.data
    with pytest.raises(ValueError, match="colourscale"):
        wrong.figure()


def test_arrays_travel_as_bytes() -> None:
    trace = PlainFigure(Spec([{"z": np.arange(6, dtype=np.float32).reshape(2, 3)}], {}))
    assert trace.to_dict()["data"][0]["z"]["shape"] == "2, 3"
    assert isinstance(Spec([{"type": "scatter", "y": [1]}], {}).figure(), go.Figure)
