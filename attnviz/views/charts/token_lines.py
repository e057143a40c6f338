"""Lines over the tokens of a text: losses and divergences of several runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from attnviz.types import Tokens
from attnviz.views.maps.heatmap import check_shape
from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.theme import Theme, apply, palette
from attnviz.views.style.token_axes import token_axis, value_axis
from attnviz.written_numbers import exact

__all__ = ["draw_token_lines"]

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def draw_token_lines(
    curves: Mapping[str, Float[np.ndarray, " token"]],
    tokens: Tokens,
    *,
    label: str,
    unit: str = "",
    theme: Theme = "light",
    height: int = 300,
    selected: int | None = None,
) -> go.Figure:
    """Draw a line per run, with one number per token; NaN leaves a gap.

    Args:
        curves: one number per token, by the name of the run.
        tokens: the tokens, left to right.
        label: name of the number.
        unit: "nats", or "" for a number without a unit.
        theme: the page's theme.
        height: of the figure, in pixels.
        selected: position of a token that a line marks.

    Raises:
        CaptureError: a curve has not one number per token.
    """
    colors = palette(theme)
    axis = token_axis(tokens)
    figure = go.Figure()
    for at, (name, numbers) in enumerate(curves.items()):
        check_shape(name, numbers, (len(tokens),), "(token,)")
        figure.add_trace(
            go.Scatter(
                x=axis.names,
                y=np.asarray(numbers, np.float32),
                mode="lines+markers",
                marker={"size": 4},
                name=escape_label(name),
                line={
                    "color": colors.categorical[at % len(colors.categorical)],
                    "width": 2,
                    "dash": _DASHES[at // len(colors.categorical) % len(_DASHES)],
                },
                customdata=[exact(float(one)) for one in numbers],
                hovertemplate=(
                    f"<b>%{{x}}</b><br>{escape_label(name)}: %{{customdata}} {escape_label(unit)}"
                    "<extra></extra>"
                ),
            )
        )
    if selected is not None and 0 <= selected < len(tokens):
        figure.add_vline(x=selected, line={"color": colors.accent, "width": 1.5, "dash": "dot"})
    apply(figure, theme)
    named = f"{label} ({unit})" if unit else label
    return figure.update_layout(
        height=height,
        margin={"l": 52, "r": 12, "t": 44, "b": 40, "pad": 0},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        hovermode="closest",
        xaxis={**axis.layout(size=11), "autotickangles": [0, -90]},
        yaxis={**value_axis(escape_label(named), colors), "rangemode": "tozero"},
    )
