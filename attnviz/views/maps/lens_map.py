"""Logit lens: the token that each layer would predict, at every position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from attnviz.types import Tokens
from attnviz.views.maps.heatmap import CELLS, check_shape, draw_grid
from attnviz.views.style.color_scales import ColorScale
from attnviz.views.style.contrast import page_color_reads_better
from attnviz.views.style.safe_labels import escape_label, shorten
from attnviz.views.style.theme import Theme, palette
from attnviz.views.style.token_axes import Axis, token_axis

__all__ = ["draw_lens"]

CELL_HEIGHT, CELL_WIDTH = 26, 92

LETTERS = 7
"""Letters of a token in a cell: on a phone a cell is 50 pixels wide."""


def draw_lens(
    best: Sequence[Sequence[str]],
    probability: Float[np.ndarray, "row position"],
    rank: Int[np.ndarray, "row position"],
    tokens: Tokens | Sequence[str],
    *,
    theme: Theme = "light",
) -> go.Figure:
    """Draw what each layer would predict: a row per position, a column per layer.

    Args:
        best: label of the likeliest token, by layer (the input first) and position.
        probability: of the token that the model predicts in the end; the colour.
        rank: of that token; 0 is the likeliest. In the hover text.
        tokens: what was read, one per position.
        theme: light or dark.

    Raises:
        CaptureError: the shapes do not match.
    """
    layers, positions = len(best), len(tokens)
    check_shape("probability", probability, (layers, positions), "(row, position)")
    check_shape("rank", rank, (layers, positions), "(row, position)")
    names = ("input", *(f"L{layer}" for layer in range(layers - 1)))
    rows, columns = token_axis(tokens), Axis(names, names, 5)
    colors = palette(theme)
    figure = draw_grid(
        probability.T,
        rows,
        columns,
        color_scale=ColorScale(colors.sequential, 0.0, 1.0, "probability of the final token"),
        hover="<b>%{y}</b>, behind %{x}<br>final token: probability %{z:.3f}, rank "
        "%{customdata[0]:.0f}",
        theme=theme,
        customdata=rank.T[:, :, None].astype(float),
        corner="layer →<br>read ↓",
        cell=CELL_HEIGHT,
        gap=1,
    )
    strong = page_color_reads_better(probability.T, theme)
    labels = [
        [escape_label(shorten(one, LETTERS)) for one in row] for row in zip(*best, strict=True)
    ]
    for name, where, color in (
        ("strong", strong, colors.page),
        ("weak", ~strong, colors.text),
    ):
        figure.add_trace(_labels(name, labels, where, color, rows, columns))
    margin = figure.layout.margin
    figure.update_layout(width=round(CELL_WIDTH * layers + margin.l + margin.r))
    return figure


def _labels(
    name: str, labels: list[list[str]], where: np.ndarray, color: str, rows: Axis, columns: Axis
) -> dict[str, Any]:
    """Return an unseen map that writes the labels of cells."""
    clear = "rgba(0,0,0,0)"
    return {
        "type": "heatmap",
        "z": np.where(where, 1.0, np.nan).astype(np.float32),
        # An empty text where the other map writes: Plotly writes beside the numbers too.
        "text": [
            [label if here else "" for label, here in zip(row, places, strict=True)]
            for row, places in zip(labels, where.tolist(), strict=True)
        ],
        "texttemplate": "%{text}",
        "textfont": {"color": color, "size": 12},
        "x": columns.names,
        "y": rows.names,
        "colorscale": [[0, clear], [1, clear]],
        "showscale": False,
        "hoverinfo": "skip",
        "hoverongaps": False,
        "name": f"labels on {name}",
        **CELLS,
    }
