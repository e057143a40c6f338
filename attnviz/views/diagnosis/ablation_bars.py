"""Bars of the cost of removing heads.

The change of the loss, with its interval, head beside head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from attnviz.errors import InputError
from attnviz.findings import Finding, Interval, Replacement
from attnviz.types import Head
from attnviz.views.diagnosis.label_colors import label_colors
from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.theme import Palette, Theme, apply, heading, palette
from attnviz.views.style.token_axes import value_axis
from attnviz.written_numbers import MINUS, signed

__all__ = ["MOST_BARS", "draw_ablation"]

MOST_BARS = 200
"""More heads than this are not drawn side by side: a bar would be thinner than a line."""

FLAT = 10  # more names than this stand upright

TICKS = (-3, -1, -0.3, -0.1, -0.03, -0.01, 0, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)
LEAST_STRETCH = 0.005  # nats
HOLLOW = "rgba(0,0,0,0)"

WAYS: Mapping[Replacement, str] = {
    "zero": "removed",
    "mean": "its average in its place",
    "uniform": "a plain average in its place",
}


def draw_ablation(
    findings: Sequence[Finding],
    *,
    selected: Head | None = None,
    tolerance: float = 0.0,
    theme: Theme = "light",
    title: str | None = None,
) -> go.Figure:
    """Draw what replacing each head costs, most expensive first, with 95% intervals.

    Bars stand for removing the head altogether (the first replacement there is), diamonds for its
    average in its place, and circles for a plain average if that was tried. A hollow bar is a head
    whose label the removal contradicts. The band is what counts as nothing. The scale is stretched
    around it (an inverse hyperbolic sine): one head may cost a thousand times as much as another,
    and both questions matter.

    Args:
        findings: of the heads to compare; those that were not ablated are left out.
        selected: the head to mark.
        tolerance: a smaller change is about nothing, nats per token.
        theme: the page's theme.
        title: written above.

    Raises:
        InputError: nothing was ablated, or there are more than `MOST_BARS` heads.
    """
    tried = [one for one in findings if one.ablation]
    if not tried:
        raise InputError("no head was removed, so there is no cost to draw")
    if len(tried) > MOST_BARS:
        raise InputError(
            f"{len(tried)} heads do not fit beside each other; draw those of one layer"
        )
    colors = palette(theme)
    color_of = label_colors(theme)
    ways: list[Replacement] = list(tried[0].ablation)
    tried.sort(key=lambda one: -np.nan_to_num(one.ablation[ways[0]].mean, nan=-np.inf))
    names = [escape_label(one.head.label) for one in tried]
    marked = [one.head == selected for one in tried]
    figure = go.Figure()
    stretch = _Stretch(max(tolerance, LEAST_STRETCH))
    band = stretch(np.asarray([-tolerance, tolerance]))
    figure.add_hrect(
        y0=band[0],
        y1=band[1],
        fillcolor=colors.muted,
        opacity=0.16,
        line={"width": 0},
        layer="below",
    )
    for number, way in enumerate(ways):
        values = [one.ablation[way] for one in tried]
        says = [
            f"<b>{name}</b> {escape_label(one.name)}<br>{WAYS[way]}: {_interval_text(value)}"
            for name, one, value in zip(names, tried, values, strict=True)
        ]
        shared: dict[str, Any] = {
            "x": names,
            "y": stretch(np.asarray([value.mean for value in values])),
            "error_y": _arms(values, stretch, colors.text if number == 0 else colors.muted),
            "customdata": says,
            "hovertemplate": "%{customdata}<extra></extra>",
            "name": WAYS[way],
        }
        if number == 0:
            figure.add_trace(
                go.Bar(
                    marker={
                        "color": [
                            HOLLOW if one.contradicted else color_of[one.label] for one in tried
                        ],
                        "line": {
                            "color": [
                                color_of[one.label]
                                if one.contradicted
                                else colors.accent
                                if mark
                                else colors.line
                                for one, mark in zip(tried, marked, strict=True)
                            ],
                            "width": [
                                3 if one.contradicted or mark else 1
                                for one, mark in zip(tried, marked, strict=True)
                            ],
                        },
                    },
                    showlegend=False,
                    **shared,
                )
            )
            figure.add_trace(_bar_in_legend(WAYS[way], colors))
        else:
            symbol = "diamond" if way == "mean" else "circle-open"
            figure.add_trace(
                go.Scatter(
                    mode="markers",
                    marker={"symbol": symbol, "size": 7, "color": colors.muted},
                    **shared,
                )
            )
    apply(figure, theme)
    for at, one in enumerate(tried):
        if marked[at]:
            _point_at(figure, at, names[at], one.ablation[ways[0]], stretch, colors)
    return figure.update_layout(
        height=330 + (26 if title else 0),
        margin={"l": 56, "r": 12, "t": 62 if title else 36, "b": 62, "pad": 0},
        bargap=0.2,
        hovermode="closest",
        title=heading(title),
        legend={"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
        xaxis={
            "type": "category",
            "categoryorder": "array",
            "categoryarray": names,
            "tickfont": {"size": 10, "color": colors.muted},
            "tickangle": 0 if len(names) <= FLAT else -90,
            "showgrid": False,
            "fixedrange": True,
            "range": [-0.6, len(names) - 0.4],
        },
        yaxis={
            **value_axis("loss change (nats per token)", colors),
            "fixedrange": True,
            "zeroline": True,
            "tickvals": stretch(np.asarray(TICKS)),
            "ticktext": [f"{tick:g}".replace("-", MINUS) for tick in TICKS],
            "range": _span(tried, ways, stretch),
        },
    )


class _Stretch:
    """Return the position on the axis of a change of the loss."""

    def __init__(self, near: float) -> None:
        self.near = near

    def __call__(self, values: np.ndarray) -> np.ndarray:
        stretched: np.ndarray = np.arcsinh(values / self.near)
        return stretched


def _span(tried: Sequence[Finding], ways: Sequence[Replacement], stretch: _Stretch) -> list[float]:
    """Return the ends of the axis: all that is drawn, and room for a name above it."""
    drawn = [
        end
        for one in tried
        for way in ways
        for end in (one.ablation[way].low, one.ablation[way].high, one.ablation[way].mean)
        if np.isfinite(end)
    ]
    low, high = stretch(np.asarray([min(drawn, default=0.0), max(drawn, default=0.0)]))
    low, high = min(low, -1.5), max(high, 1.5)
    return [low - 0.05 * (high - low), high + 0.16 * (high - low)]


def _arms(values: Sequence[Interval], stretch: _Stretch, color: str) -> dict[str, Any]:
    """Return the arms of the intervals; none where there is no interval."""
    means, lows, highs = (
        stretch(np.asarray([getattr(value, end) for value in values]))
        for end in ("mean", "low", "high")
    )
    return {
        "type": "data",
        "symmetric": False,
        "array": highs - means,
        "arrayminus": means - lows,
        "color": color,
        "thickness": 1.2,
        "width": 3,
    }


def _interval_text(value: Interval) -> str:
    said = f"{signed(value.mean, 3)} nats per token"
    if np.isnan(value.low):
        return f"{said}<br>one text, so no interval"
    return f"{said}<br>95% interval {signed(value.low, 3)} to {signed(value.high, 3)}"


def _bar_in_legend(name: str, colors: Palette) -> go.Scatter:
    """Return what the bars are: they have many colours, and their legend none."""
    return go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        marker={
            "symbol": "square",
            "size": 11,
            "color": colors.line,
            "line": {"width": 1, "color": colors.muted},
        },
        name=name,
        hoverinfo="skip",
    )


def _point_at(
    figure: go.Figure,
    at: int,
    name: str,
    value: Interval,
    stretch: _Stretch,
    colors: Palette,
) -> None:
    """Add an arrow to the chosen head's bar."""
    tip = stretch(np.asarray(np.nanmax([value.mean, value.high, 0.0])))
    figure.add_annotation(
        x=at,
        y=tip.item(),
        text=name,
        showarrow=True,
        arrowhead=2,
        arrowcolor=colors.accent,
        ax=0,
        ay=-26,
        font={"size": 12, "color": colors.text, "weight": 600},
    )
