"""Sizes of memory: bars from zero, or points where the largest is far larger than the smallest."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.size_axis import size_axis, size_powers_axis
from attnviz.views.style.theme import Theme, apply, palette
from attnviz.written_numbers import count, size

__all__ = ["draw_memory", "draw_memory_points"]


def draw_memory(sizes: Mapping[str, float], *, theme: Theme = "light") -> go.Figure:
    """Draw one bar per name from zero on, with its size in words.

    Args:
        sizes: bytes by name, the first on top.
        theme: the page's theme.
    """
    bars = go.Bar(
        **_row_fields(sizes),
        orientation="h",
        textposition="auto",
        marker={"color": palette(theme).categorical[0]},
    )
    return _figure(bars, len(sizes), size_axis(max(sizes.values())), theme)


def draw_memory_points(
    sizes: Mapping[str, float], *, marked: str, theme: Theme = "light"
) -> go.Figure:
    """Draw one point per name over powers of ten; a length from zero would say nothing there.

    Args:
        sizes: bytes by name, above 0, the first on top.
        marked: name of the point in the accent colour.
        theme: the page's theme.
    """
    colors = palette(theme)
    largest = max(sizes.values())
    points = go.Scatter(
        **_row_fields(sizes),
        mode="markers+text",
        textposition=[
            "middle left" if one**2 > largest * min(sizes.values()) else "middle right"
            for one in sizes.values()
        ],
        cliponaxis=False,
        marker={
            "size": 12,
            "symbol": ["diamond" if name == marked else "circle" for name in sizes],
            "color": [colors.accent if name == marked else colors.categorical[0] for name in sizes],
        },
    )
    figure = _figure(points, len(sizes), size_powers_axis(min(sizes.values()), largest), theme)
    return figure.update_yaxes(showgrid=True)


def _row_fields(sizes: Mapping[str, float]) -> dict[str, object]:
    return {
        "y": [escape_label(name) for name in sizes],
        "x": [float(one) for one in sizes.values()],
        "text": [size(one) for one in sizes.values()],
        "customdata": [count(one) for one in sizes.values()],
        "hovertemplate": "<b>%{y}</b><br>%{customdata} bytes<extra></extra>",
    }


def _figure(
    rows: go.Bar | go.Scatter, names: int, axis: dict[str, object], theme: Theme
) -> go.Figure:
    figure = go.Figure(rows)
    apply(figure, theme)
    return figure.update_layout(
        height=60 + 30 * names,
        margin={"l": 12, "r": 16, "t": 10, "b": 40, "pad": 4},
        showlegend=False,
        bargap=0.25,
        xaxis={"title": {"text": "bytes of keys and values"}, **axis},
        yaxis={"autorange": "reversed", "automargin": True, "showgrid": False},
    )
