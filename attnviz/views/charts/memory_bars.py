"""Bars of memory, in bytes, on a linear or logarithmic axis."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.theme import Theme, apply, palette
from attnviz.written_numbers import size

__all__ = ["draw_memory"]


def draw_memory(
    sizes: Mapping[str, float],
    *,
    marked: str | None = None,
    logarithmic: bool = False,
    theme: Theme = "light",
) -> go.Figure:
    """Draw one bar per name, with its size in words.

    Args:
        sizes: bytes by name, the first on top.
        marked: name of the bar in the accent colour.
        logarithmic: use a logarithmic axis; all sizes are above 0 then.
        theme: the page's theme.
    """
    colors = palette(theme)
    names = [escape_label(name) for name in sizes]
    figure = go.Figure(
        go.Bar(
            y=names,
            x=[float(one) for one in sizes.values()],
            orientation="h",
            text=[size(one) for one in sizes.values()],
            textposition="auto",
            marker={
                "color": [
                    colors.accent if name == marked else colors.categorical[0] for name in sizes
                ]
            },
            hovertemplate="<b>%{y}</b><br>%{x:,} bytes<extra></extra>",
        )
    )
    apply(figure, theme)
    return figure.update_layout(
        height=60 + 30 * len(names),
        margin={"l": 12, "r": 12, "t": 10, "b": 40, "pad": 4},
        showlegend=False,
        bargap=0.25,
        xaxis={
            "type": "log" if logarithmic else "linear",
            "title": {"text": "bytes of keys and values"},
            "exponentformat": "SI",
            **({"dtick": "D2"} if logarithmic else {"nticks": 6}),  # 1, 2 and 5 of each power
        },
        yaxis={"autorange": "reversed", "automargin": True, "showgrid": False},
    )
