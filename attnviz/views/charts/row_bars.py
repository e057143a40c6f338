"""Number per token: entropy of every row, divergence between two heads."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from attnviz.types import Tokens
from attnviz.views.maps.heatmap import check_shape
from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.theme import Theme, apply, heading, palette
from attnviz.views.style.token_axes import token_axis
from attnviz.written_numbers import exact

__all__ = ["draw_rows"]


def draw_rows(
    values: Float[np.ndarray, " query"],
    tokens: Tokens,
    *,
    label: str,
    unit: str = "",
    theme: Theme = "light",
    limits: tuple[float, float] | None = None,
    selected: int | None = None,
    title: str | None = None,
    height: int = 260,
    first: int = 0,
) -> go.Figure:
    """Draw one bar per token, in the order of the text; a token without a number has none.

    Args:
        values: one per token, NaN where the number is not defined.
        tokens: the tokens, left to right.
        label: what the number is called.
        unit: "nats", "tokens", or "" for a share.
        theme: the page's theme.
        limits: the range of the vertical axis; from zero to the largest when None.
        selected: the bar to set off.
        title: written above.
        height: of the figure, in pixels.
        first: the position of the first token, where they are a part of a text.

    Raises:
        CaptureError: there is not one value per token.
    """
    check_shape("values", values, (len(tokens),), "(token,)")
    colors = palette(theme)
    axis = token_axis(tokens, first=first)
    named = f"{escape_label(label)}{f' ({escape_label(unit)})' if unit else ''}"
    missing = ~np.isfinite(values)
    fills = [colors.categorical[0]] * len(tokens)
    if selected is not None and 0 <= selected < len(tokens):
        fills[selected] = colors.accent
    figure = go.Figure(
        go.Bar(
            x=axis.names,
            y=np.where(missing, np.nan, values).astype(np.float32),
            marker={"color": fills if selected is not None else colors.categorical[0]},
            hovertext=axis.names,
            customdata=[exact(float(one)) for one in values],
            hovertemplate=(
                f"<b>%{{hovertext}}</b><br>{escape_label(label)} %{{customdata}} "
                f"{escape_label(unit)}<extra></extra>"
            ),
            name=escape_label(label),
        )
    )
    if missing.any():
        figure.add_trace(
            go.Scatter(
                x=[name for name, gone in zip(axis.names, missing, strict=True) if gone],
                y=[0.0] * int(missing.sum()),
                mode="markers",
                marker={"symbol": "x-thin", "size": 6, "line": {"width": 1, "color": colors.muted}},
                cliponaxis=False,
                hovertext=[name for name, gone in zip(axis.names, missing, strict=True) if gone],
                hovertemplate=(
                    f"<b>%{{hovertext}}</b><br>{escape_label(label)}: not defined<extra></extra>"
                ),
                showlegend=False,
                name="not defined",
            )
        )
    apply(figure, theme)
    figure.update_layout(
        height=height,
        title=heading(title),
        margin={"l": 48, "r": 12, "t": 40 if title else 14, "b": 40, "pad": 0},
        bargap=0.15,
        showlegend=False,
        hovermode="closest",
        xaxis={
            **axis.layout(size=11),
            "autotickangles": [0, -90],
            # A few bars keep the width of bars.
            "range": [-0.5, max(len(axis), 8) - 0.5],
        },
        yaxis={
            "title": {"text": named, "font": {"size": 12, "color": colors.muted}, "standoff": 6},
            "tickfont": {"size": 11, "color": colors.muted},
            "nticks": 5,
            "rangemode": "tozero",
            "zeroline": True,
        },
    )
    if limits is not None:
        figure.update_yaxes(range=list(limits))
    return figure
