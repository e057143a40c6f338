"""Map of cells that most figures are made of: a heatmap with labels on both sides.

Rows run from top to bottom and columns from left to right, with the column labels on top, where
the eye starts. A cell without a number is left open and shows the hatching behind the map, which
no colour of a scale can be mistaken for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from attnviz.errors import CaptureError
from attnviz.views.maps.masked_cells import hatching, spoken_gaps
from attnviz.views.style.color_scales import ColorScale, color_bar
from attnviz.views.style.figure_spec import Spec
from attnviz.views.style.theme import Theme, colorscale, heading, palette, style
from attnviz.views.style.token_axes import Axis

__all__ = ["CELLS", "cell_size", "check_shape", "draw_grid", "grid_spec", "note", "outline"]

CELLS = {"xaxis": "x2", "yaxis": "y2"}
"""The axes of everything that is drawn in cells."""

_LETTER = 0.62  # a letter's width over its height, for the fonts in use
_NARROWEST = 210.0  # what the colour bar and the words beside it need
_BAR = 48  # the strip below the map: a line of text and the colour bar


def check_shape(name: str, array: np.ndarray, expected: tuple[int, ...], axes: str) -> None:
    """Raise `CaptureError` unless the array has the expected shape; `axes` names its sides."""
    if array.shape != expected:
        raise CaptureError(f"{name} has shape {array.shape}; expected {axes} = {expected}.")


def cell_size(rows: int, columns: int) -> float:
    """Return the side of a square cell in pixels: large for few, at most 760 px for many."""
    longest = max(rows, columns, 1)
    if longest * 34 < _NARROWEST:
        return min(60.0, _NARROWEST / longest)
    return min(34.0, max(440.0, min(13.0 * longest, 760.0)) / longest)


def grid_spec(
    values: Float[np.ndarray, "row column"],
    rows: Axis,
    columns: Axis,
    *,
    color_scale: ColorScale,
    hover: str,
    theme: Theme,
    customdata: Float[np.ndarray, "row column number"] | None = None,
    counts: Int[np.ndarray, "row column"] | None = None,
    empty: str = "not defined",
    legend: str = "not defined",
    corner: str = "",
    title: str | None = None,
    cell: float | None = None,
    gap: float = 0,
) -> Spec:
    """Return a map of cells as a specification; NaN cells are hatched, with `empty` as hover text.

    `hover` is a Plotly template over x, y, z, `customdata` and, for `counts`, `text`. Arrays
    travel as typed arrays (float32, int16), never as a string per cell. The figure's height is
    fixed and its width is the one that makes cells square: show it at that width, or narrower
    where the screen ends.
    """
    check_shape("the map", values, (len(rows), len(columns)), "(row, column)")
    colors = palette(theme)
    not_finite = ~np.isfinite(values)
    cell = cell_size(*values.shape) if cell is None else cell
    size = 11 if cell >= 14 else 10
    shared = {"x": columns.names, "y": rows.names, "xgap": gap, "ygap": gap, **CELLS}
    layout, axis = style(theme)

    traces = [_corner_point(rows, columns)]
    if not_finite.any():
        traces.append(hatching(not_finite, theme, everywhere=gap == 0))
        # Below the map, so that it answers the pointer only where the map is open.
        traces.append(spoken_gaps(values.shape, f"%{{y}} → %{{x}}<br>{empty}", shared))
    drawn: dict[str, Any] = {
        "type": "heatmap",
        "z": np.where(not_finite, np.nan, values).astype(np.float32),
        "colorscale": colorscale(color_scale.colors),
        "zmin": color_scale.low,
        "zmax": color_scale.high,
        "colorbar": color_bar(color_scale, theme),
        "hovertemplate": f"{hover}<extra></extra>",
        "hoverongaps": False,
        "name": "map",
        **shared,
    }
    if customdata is not None:
        drawn["customdata"] = customdata.astype(np.float32)
    if counts is not None:
        drawn["text"] = _small(counts)
    traces.append(drawn)

    upright = columns.width * size * _LETTER > cell
    corner_width = max(map(len, corner.split("<br>")))
    left = max(26.0, rows.width * size * _LETTER + 14, corner_width * 10 * _LETTER + 10)
    top = (columns.width if upright else 1.6) * size * _LETTER + 16 + (30 if title else 0)
    top = max(top, 34.0 + (30 if title else 0)) if corner else top
    layout |= {
        "width": round(max(cell * len(columns), _NARROWEST) + left + 12),
        "height": round(max(cell * len(rows), 60) + top + _BAR),
        "margin": {"l": left, "r": 12, "t": top, "b": _BAR, "pad": 0},
        "hovermode": "closest",
        "xaxis": {
            **axis,
            **columns.layout(size=size),
            "side": "top",
            "autotickangles": [0, -90],
        },
        "yaxis": {**axis, **rows.layout(size=size, reverse=True)},
        "xaxis2": columns.unseen("x"),
        "yaxis2": rows.unseen("y", reverse=True),
        "annotations": [],
    }
    if title:
        layout["title"] = heading(title)
    if not_finite.any():
        hidden = {"visible": False, "fixedrange": True}
        layout["xaxis9"] = {**hidden, "overlaying": "x", "range": [-0.5, len(columns) - 0.5]}
        layout["yaxis9"] = {**hidden, "overlaying": "y", "range": [len(rows) - 0.5, -0.5]}
        layout["annotations"].append(_caption(f"▨ {legend}", theme, right=True))
    layout["annotations"].append(_caption(color_scale.label, theme))
    if corner:
        layout["annotations"].append(
            {
                "text": corner,
                "x": 0,
                "y": 1,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "right",
                "yanchor": "bottom",
                "xshift": -5,
                "yshift": 3,
                "align": "right",
                "showarrow": False,
                "font": {"size": 10, "color": colors.muted},
            }
        )
    return Spec(traces, layout)


def draw_grid(values: Float[np.ndarray, "row column"], *axes: Axis, **options: Any) -> go.Figure:
    """Draw a map of cells; arguments as for `grid_spec`."""
    return grid_spec(values, *axes, **options).figure()


def outline(
    theme: Theme,
    *,
    rows: tuple[int, int],
    columns: tuple[int, int],
    width: float = 2,
    inset: float = 0,
) -> dict[str, Any]:
    """Return a shape around the cells from the first to the last row and column, both included.

    `inset` is a share of a cell: at the edge of the map the outer half of the line is cut off.
    """
    return {
        "type": "rect",
        "x0": columns[0] - 0.5 + inset,
        "x1": columns[1] + 0.5 - inset,
        "y0": rows[0] - 0.5 + inset,
        "y1": rows[1] + 0.5 - inset,
        "line": {"color": palette(theme).accent, "width": width},
        "fillcolor": "rgba(0,0,0,0)",
    }


def note(figure: go.Figure, lines: list[str], theme: Theme) -> None:
    """Write escaped lines below the colour bar and make room for them."""
    figure.add_annotation(
        text="<br>".join(lines),
        x=0,
        y=0,
        xref="paper",
        yref="paper",
        xanchor="left",
        yanchor="top",
        yshift=-_BAR - 2,
        align="left",
        showarrow=False,
        font={"size": 12, "color": palette(theme).muted},
    )
    extra = 17 * len(lines) + 8
    height = figure.layout.height + extra
    figure.update_layout(height=height, margin_b=figure.layout.margin.b + extra)
    figure.update_traces(colorbar_y=extra / height, selector={"name": "map"})


def _small(counts: np.ndarray) -> np.ndarray:
    """Store counts in one byte each where they fit: a map of 128 tokens has 16,384 of them."""
    fits = counts.size == 0 or (counts.min() >= 0 and counts.max() < 256)
    return counts.astype(np.uint8 if fits else np.int16)


def _caption(text: str, theme: Theme, *, right: bool = False) -> dict[str, Any]:
    """Return an annotation: one line directly below the map, at its left or right end."""
    return {
        "text": text,
        "x": 1 if right else 0,
        "y": 0,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "right" if right else "left",
        "yanchor": "top",
        "xshift": 1 if right else -1,
        "yshift": -4,
        "showarrow": False,
        "font": {"size": 11, "color": palette(theme).muted},
    }


def _corner_point(rows: Axis, columns: Axis) -> dict[str, Any]:
    """Return one unseen point on the labelled axes: Plotly labels no axis that holds nothing."""
    return {
        "type": "scatter",
        "x": columns.names[:1],
        "y": rows.names[:1],
        "mode": "markers",
        "marker": {"opacity": 0},
        "hoverinfo": "skip",
        "showlegend": False,
        "name": "corner",
    }
