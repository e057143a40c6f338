"""Maps of the vectors of a head, and of the products that add up to a score."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from attnviz.errors import CaptureError
from attnviz.types import Tokens
from attnviz.views.maps.heatmap import draw_grid
from attnviz.views.maps.map_specification import signed_ticks
from attnviz.views.style.color_scales import ColorScale
from attnviz.views.style.kind_colors import kind_colors
from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.theme import Theme, palette
from attnviz.views.style.token_axes import number_axis, token_axis
from attnviz.written_numbers import decimals, signed

__all__ = ["draw_products", "draw_vectors"]

WRITTEN = 64
"""Rows up to which scores are written; beside more rows they would not fit."""


def draw_vectors(
    matrix: Float[np.ndarray, "position dimension"],
    tokens: Tokens,
    *,
    label: str,
    theme: Theme = "light",
    limit: float | None = None,
    title: str | None = None,
    first: int = 0,
) -> go.Figure:
    """Draw the queries, keys or values of one head: a row per token, a column per dimension.

    The dimensions have no order of their own; equal patterns in two rows mean alike vectors.

    Args:
        matrix: one vector per token.
        tokens: the tokens, downward.
        label: what the vectors are ("query", "key", "value").
        theme: the page's theme.
        limit: the number at both ends of the colours; the largest one when None.
        title: written above the map.
        first: the position of the first token, where they are a part of a text.

    Raises:
        CaptureError: there is not one vector per token.
    """
    if matrix.ndim != 2 or len(matrix) != len(tokens):
        raise CaptureError(
            f"{label} has shape {matrix.shape}; expected (position, dimension) with "
            f"{len(tokens)} positions."
        )
    named = _in_color(escape_label(label), label, theme)
    return _map(matrix, tokens, named, "%{z:.4f}", theme, limit, title, first)


def draw_products(
    query_vector: Float[np.ndarray, " dimension"],
    key_vectors: Float[np.ndarray, "key dimension"],
    key_tokens: Tokens,
    *,
    scaling: float = 1.0,
    query_label: str = "query",
    theme: Theme = "light",
    limit: float | None = None,
    title: str | None = None,
    first: int = 0,
    weights: Float[np.ndarray, " key"] | None = None,
) -> go.Figure:
    """Draw `scaling * q * k`, dimension by dimension, for one query and every key.

    A row's products add up to the score of that key before any bias. The sum stands at the end of
    the row, and the weight beside it. The idea is the neuron view of BertViz (Vig 2019), with all
    dimensions in one map.

    Args:
        query_vector: the vector of one query.
        key_vectors: the vectors of the keys.
        key_tokens: the keys, downward.
        scaling: what the model multiplies q·k with, usually 1/sqrt(dimensions).
        query_label: the token of the query.
        theme: the page's theme.
        limit: the product at both ends of the colours; the largest one when None.
        title: written above the map.
        first: the position of the first token, where they are a part of a text.
        weights: weight of each key, NaN where it is masked; not written when None.

    Raises:
        CaptureError: the vectors' dimensions differ, or there is not one key per token.
    """
    expected = (len(key_tokens), len(query_vector))
    if query_vector.ndim != 1 or key_vectors.shape != expected:
        raise CaptureError(
            f"query_vector has shape {query_vector.shape} and key_vectors {key_vectors.shape}; "
            f"expected (dimension,) and (key, dimension) = {expected}."
        )
    products = scaling * query_vector[None, :] * key_vectors
    sums = np.broadcast_to(products.sum(axis=1, keepdims=True), products.shape)
    figure = _map(
        products,
        key_tokens,
        "q·k product",
        "%{z:+.4f}<br>row sum = score %{customdata[0]:.3f}",
        theme,
        limit,
        title,
        first,
        numbers=sums[..., None],
    )
    if len(key_tokens) <= WRITTEN:
        _write_sums(figure, sums[:, 0], weights, theme)
    return figure.update_traces(
        meta=[escape_label(query_label)],
        hovertemplate=(
            "<b>%{meta[0]}</b> → <b>%{y}</b><br>dimension %{x}: %{z:+.4f}"
            "<br>row sum = score %{customdata[0]:.3f}<extra></extra>"
        ),
        selector={"name": "map"},
    )


def _write_sums(
    figure: go.Figure, scores: np.ndarray, weights: np.ndarray | None, theme: Theme
) -> None:
    """Write the score of each row at its end, and its weight."""
    colors = palette(theme)

    def at(row: float, text: str, color: str) -> dict[str, Any]:
        return {
            "text": text,
            "x": 1,
            "xref": "paper",
            "xanchor": "left",
            "y": row,
            "yref": "y",
            "xshift": 8,
            "showarrow": False,
            "align": "right",
            "font": {"family": "monospace", "size": 11, "color": color},
        }

    heading = at(1, " " + _in_color("score", "score", theme), colors.muted)
    if weights is not None:
        heading["text"] += "  " + _in_color("weight", "weight", theme)
    lines = [{**heading, "yref": "paper", "yanchor": "bottom", "yshift": 4}]
    for row, score in enumerate(scores):
        text = f"{signed(score):>6}"
        if weights is not None:
            text += "  masked" if np.isnan(weights[row]) else f"  {decimals(weights[row], 3):>6}"
        lines.append(at(row, text.replace(" ", "\u2007"), colors.text))
    shown = (*figure.layout.annotations, *lines)
    room = 126 if weights is not None else 70
    figure.update_layout(
        annotations=shown,
        margin={"r": room},
        width=figure.layout.width + room - (figure.layout.margin.r or 0),
    )


def _in_color(text: str, kind: str, theme: Theme) -> str:
    """Return the text in the colour of queries, keys, values, scores, weights or outputs."""
    color = kind_colors(theme).get(kind)
    return text if color is None else f'<span style="color:{color}">{text}</span>'


def _map(
    matrix: np.ndarray,
    tokens: Tokens,
    label: str,
    number: str,
    theme: Theme,
    limit: float | None,
    title: str | None,
    first: int,
    numbers: np.ndarray | None = None,
) -> go.Figure:
    finite = np.abs(matrix[np.isfinite(matrix)])
    largest = float(finite.max()) if finite.size else 0.0
    end = limit if limit is not None and limit > 0 else (largest if largest > 0 else 1.0)
    figure = draw_grid(
        matrix,
        token_axis(tokens, first=first),
        number_axis(matrix.shape[1]),
        color_scale=ColorScale(
            palette(theme).diverging,
            -end,
            end,
            label,
            signed_ticks(end),
        ),
        hover=f"<b>%{{y}}</b><br>dimension %{{x}}: {number}",
        customdata=numbers,
        theme=theme,
        corner="dimension →<br>token ↓",
        title=title,
        cell=max(8.0, min(20.0, 620 / max(matrix.shape[0], 1))),
    )
    return figure.update_layout(width=max(360, min(760, figure.layout.width)))
