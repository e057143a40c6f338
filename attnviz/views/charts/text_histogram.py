"""Histogram of one number per text."""

from __future__ import annotations

import itertools

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.theme import Theme, apply, palette
from attnviz.written_numbers import decimals

__all__ = ["draw_texts"]

BINS = 20


def draw_texts(
    values: Float[np.ndarray, " text"],
    *,
    label: str,
    unit: str = "",
    limits: tuple[float, float] | None = None,
    theme: Theme = "light",
) -> go.Figure:
    """Draw the number of texts in each of 20 intervals of a value.

    Args:
        values: one per text; NaN is left out.
        label: what the value is called.
        unit: "nats", "tokens", or "" for a share.
        limits: range of the value; from the lowest to the highest value when None.
        theme: the page's theme.
    """
    known = values[np.isfinite(values)].astype(np.float64)
    if limits is None:
        limits = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    counts, edges = np.histogram(known.clip(*limits), BINS, range=limits)
    intervals = [f"{decimals(a)} to {decimals(b)}" for a, b in itertools.pairwise(edges)]
    colors = palette(theme)
    figure = go.Figure(
        go.Bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=counts,
            width=np.diff(edges),
            marker={"color": colors.categorical[0]},
            customdata=intervals,
            hovertemplate=(
                f"{escape_label(label)} %{{customdata}} {escape_label(unit)}<br>"
                "%{y} texts<extra></extra>"
            ),
            name="texts",
        )
    )
    apply(figure, theme)
    named = f"{escape_label(label)}{f' ({escape_label(unit)})' if unit else ''}"
    small = {"size": 11, "color": colors.muted}
    return figure.update_layout(
        height=150,
        margin={"l": 40, "r": 12, "t": 8, "b": 36, "pad": 0},
        bargap=0.04,
        showlegend=False,
        xaxis={
            "title": {"text": f"strongest {named} of a text", "font": small, "standoff": 4},
            "range": [edges[0], edges[-1]],
            "tickfont": small,
            "nticks": 6,
        },
        yaxis={
            "title": {"text": "texts", "font": small},
            "tickfont": small,
            "nticks": 4,
            "tickformat": "d",
            "rangemode": "tozero",
        },
    )
