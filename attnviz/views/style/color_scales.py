"""Colour scales and colour bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from attnviz.views.style.theme import Theme, palette

__all__ = ["ColorScale", "color_bar"]


@dataclass(frozen=True)
class ColorScale:
    """Colour scale of a map, with its colour bar.

    Attributes:
        colors: evenly spaced stops.
        low: the number of the first stop.
        high: the number of the last stop.
        label: written above the colour bar, escaped.
        ticks: marks of the colour bar as (value, text); None leaves them to Plotly.
    """

    colors: tuple[str, ...]
    low: float
    high: float
    label: str
    ticks: tuple[tuple[float, str], ...] | None = None


def color_bar(color_scale: ColorScale, theme: Theme) -> dict[str, Any]:
    """Return a thin bar below the map, at its left edge, whatever the map's width."""
    colors = palette(theme)
    bar: dict[str, Any] = {
        "orientation": "h",
        "x": 0,
        "xanchor": "left",
        "xpad": 0,
        "yref": "container",
        "y": 0,
        "yanchor": "bottom",
        "ypad": 4,
        "lenmode": "pixels",
        "len": 130,
        "thickness": 8,
        "tickangle": 0,
        "outlinewidth": 0,
        "ticks": "",
        "tickfont": {"size": 10, "color": colors.muted},
    }
    if color_scale.ticks is None:
        return {**bar, "nticks": 5}
    return {
        **bar,
        "tickvals": [value for value, _ in color_scale.ticks],
        "ticktext": [text for _, text in color_scale.ticks],
    }
