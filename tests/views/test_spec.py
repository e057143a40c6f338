"""Figures as plain dictionaries become graph objects whose properties are checked."""

from __future__ import annotations

import plotly.graph_objects as go
import pytest

from attnviz.views.style.figure_spec import Spec


def test_a_property_that_plotly_does_not_know_is_refused() -> None:
    wrong = Spec([{"type": "heatmap", "z": [[1]], "colourscale": "x"}], {})
    with pytest.raises(ValueError, match="colourscale"):
        wrong.figure()
    assert isinstance(Spec([{"type": "scatter", "y": [1]}], {}).figure(), go.Figure)
