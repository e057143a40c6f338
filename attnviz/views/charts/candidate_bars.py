"""Bars of the probabilities of tokens, in one or several states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from attnviz.errors import InputError
from attnviz.views.style.safe_labels import escape_label, shorten
from attnviz.views.style.theme import Theme, apply, palette
from attnviz.written_numbers import percent

__all__ = ["draw_candidates"]

LABEL = 16  # letters of a token's label


def draw_candidates(
    labels: Sequence[str],
    probabilities: Mapping[str, Sequence[float]],
    *,
    chosen: int | None = None,
    theme: Theme = "light",
) -> go.Figure:
    """Draw one row of bars per token, the first token on top.

    Args:
        labels: of the tokens; equal labels stay apart.
        probabilities: one number per token, by the name of the state ("before", "after").
        chosen: place of a token whose label is marked.
        theme: the page's theme.

    Raises:
        InputError: a state has not one number per token.
    """
    colors = palette(theme)
    figure = go.Figure()
    rows = list(range(len(labels)))
    for at, (name, numbers) in enumerate(probabilities.items()):
        if len(numbers) != len(labels):
            raise InputError(f"{name!r} has {len(numbers)} probabilities for {len(labels)} tokens")
        figure.add_trace(
            go.Bar(
                y=rows,
                x=[float(one) for one in numbers],
                orientation="h",
                name=escape_label(name),
                marker={"color": colors.categorical[at % len(colors.categorical)]},
                customdata=[
                    (escape_label(label), escape_label(percent(float(one), 2)))
                    for label, one in zip(labels, numbers, strict=True)
                ],
                hovertemplate=(
                    f"<b>%{{customdata[0]}}</b><br>{escape_label(name)} "
                    "%{customdata[1]}<extra></extra>"
                ),
            )
        )
    shown = [escape_label(shorten(one, LABEL)) for one in labels]
    if chosen is not None and 0 <= chosen < len(shown):
        shown[chosen] = f"<b>{shown[chosen]}</b>"
    apply(figure, theme)
    return figure.update_layout(
        height=70 + len(labels) * (14 + 12 * max(len(probabilities), 1)),
        margin={"l": 12, "r": 12, "t": 34, "b": 34, "pad": 4},
        barmode="group",
        bargap=0.25,
        showlegend=len(probabilities) > 1,
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        xaxis={"tickformat": "~%", "rangemode": "tozero", "nticks": 5},
        yaxis={
            "tickvals": rows,
            "ticktext": shown,
            "range": [len(labels) - 0.5, -0.5],
            "automargin": True,
            "showgrid": False,
        },
    )
