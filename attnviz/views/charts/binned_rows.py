"""Number per token of a long text: bins of neighbours, with their mean and their extremes."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from attnviz.errors import InputError
from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.theme import Theme, apply, heading, palette

__all__ = ["draw_row_bins"]


def draw_row_bins(
    values: Float[np.ndarray, " query"],
    *,
    label: str,
    unit: str = "",
    theme: Theme = "light",
    limits: tuple[float, float] | None = None,
    selected: int | None = None,
    title: str | None = None,
    bins: int = 512,
    height: int = 260,
) -> go.Figure:
    """Draw at most `bins` numbers: a line of means in a band from the lowest to the highest.

    No extreme is lost, whatever the length; which token it belongs to is for the bars of a part
    (`draw_rows`). A bin of tokens without a number is a gap.

    Args:
        values: one per token, NaN where the number is not defined.
        label: what the number is called.
        unit: "nats", "tokens", or "" for a share.
        theme: the page's theme.
        limits: the range of the vertical axis; from zero to the largest when None.
        selected: the position to mark.
        title: written above.
        bins: most numbers along the text.
        height: of the figure, in pixels.

    Raises:
        InputError: there is no bin to put them into.
    """
    if bins < 1:
        raise InputError(f"an overview needs at least one bin, not {bins}")
    colors = palette(theme)
    step = max(-(-len(values) // bins), 1)
    starts = np.arange(0, len(values), step)
    last = np.minimum(starts + step, len(values)) - 1
    known = np.isfinite(values)
    count = np.add.reduceat(known.astype(np.int64), starts)
    empty = count == 0
    means, lowest, highest = (
        np.where(empty, np.nan, one).astype(np.float32)
        for one in (
            np.add.reduceat(np.where(known, values, 0.0), starts) / np.maximum(count, 1),
            np.minimum.reduceat(np.where(known, values, np.inf), starts),
            np.maximum.reduceat(np.where(known, values, -np.inf), starts),
        )
    )
    middle = (starts + last) / 2
    named = f"{escape_label(label)}{f' ({escape_label(unit)})' if unit else ''}"
    line = colors.categorical[0] if theme == "light" else colors.text
    figure = go.Figure()
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    figure.add_trace(go.Scatter(x=middle, y=lowest, name="lowest", **edge))
    figure.add_trace(
        go.Scatter(
            x=middle,
            y=highest,
            name="highest",
            fill="tonexty",
            fillcolor=colors.sequential[2] if theme == "light" else colors.sequential[3],
            **edge,
        )
    )
    figure.add_trace(
        go.Scatter(
            x=middle,
            y=means,
            name="mean",
            mode="lines",
            line={"width": 1.5, "color": line},
            customdata=np.stack([starts, last, lowest, highest], axis=-1).astype(np.float32),
            hovertemplate=(
                "tokens %{customdata[0]:.0f} to %{customdata[1]:.0f}<br>"
                f"{escape_label(label)} on average %{{y:.4f}} {escape_label(unit)}<br>"
                "from %{customdata[2]:.4f} to %{customdata[3]:.4f}<extra></extra>"
            ),
            showlegend=False,
        )
    )
    if selected is not None and 0 <= selected < len(values):
        figure.add_vline(x=selected, line={"color": colors.accent, "width": 2})
    apply(figure, theme)
    axis = {"tickfont": {"size": 11, "color": colors.muted}}
    words = {"font": {"size": 12, "color": colors.muted}, "standoff": 6}
    figure.update_layout(
        height=height,
        title=heading(title),
        margin={"l": 48, "r": 12, "t": 40 if title else 14, "b": 40, "pad": 0},
        hovermode="x",
        xaxis={**axis, "title": {"text": "token", **words}, "showgrid": False, "tickformat": ",d"},
        yaxis={**axis, "title": {"text": named, **words}, "nticks": 5, "rangemode": "tozero"},
    )
    if limits is not None:
        figure.update_yaxes(range=list(limits))
    return figure
