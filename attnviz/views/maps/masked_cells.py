"""Cells of a map that hold no number: hatched, with the reason on hover."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool

from attnviz.views.maps.map_specification import hatching_pattern
from attnviz.views.style.theme import Theme

__all__ = ["hatching", "spoken_gaps"]


def hatching(
    masked: Bool[np.ndarray, "row column"], theme: Theme, *, everywhere: bool
) -> dict[str, Any]:
    """Return the trace of strokes behind the map, in pixels at every zoom.

    They fill the whole plot, where cells without gaps cover all but the masked ones, or only
    these.
    """
    boxes = (
        [(0, 0, *masked.shape)] if everywhere else [(y, x, 1, 1) for y, x in np.argwhere(masked)]
    )
    x: list[float | None] = []
    y: list[float | None] = []
    for row, column, height, width in boxes:
        left, top = column - 0.5, row - 0.5
        x += [left, left + width, left + width, left, None]
        y += [top, top, top + height, top + height, None]
    return {
        "type": "scatter",
        "x": x,
        "y": y,
        "fill": "toself",
        "mode": "lines",
        "line": {"width": 0},
        "fillpattern": hatching_pattern(theme),
        "hoverinfo": "skip",
        "showlegend": False,
        "zorder": -1,
        "xaxis": "x9",
        "yaxis": "y9",
        "name": "hatching",
    }


def spoken_gaps(shape: tuple[int, ...], hover: str, shared: dict[str, Any]) -> dict[str, Any]:
    """Return the trace of an invisible map that has a hover label and no colour."""
    clear = "rgba(0,0,0,0)"
    return {
        "type": "heatmap",
        "z": np.zeros(shape, dtype=np.int8),
        "colorscale": [[0, clear], [1, clear]],
        "showscale": False,
        "hovertemplate": f"{hover}<extra></extra>",
        "name": "empty",
        **shared,
    }
