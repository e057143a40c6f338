"""Map of all heads of a model: one number per head, layers downward from layer 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from attnviz.errors import CaptureError, InputError
from attnviz.types import Head, Kind, Metric
from attnviz.views.maps.heatmap import CELLS, grid_spec, outline
from attnviz.views.maps.map_specification import head_specification
from attnviz.views.maps.scales import LINEAR, LOGARITHMIC, Scale, scale_named
from attnviz.views.style.color_scales import ColorScale
from attnviz.views.style.contrast import page_color_reads_better
from attnviz.views.style.figure_spec import Spec
from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.theme import Theme, palette
from attnviz.views.style.token_axes import number_axis
from attnviz.written_numbers import decimals, significant

__all__ = ["CLICK_LIMIT", "draw_head_map", "head_limits", "head_map_spec"]

CLICK_LIMIT = 64 * 64
"""Most heads that can be clicked; a larger map can only be read."""


def draw_head_map(values: Float[np.ndarray, "layer head"], **options: Any) -> go.Figure:
    """Draw one number per head; arguments and errors as for `head_map_spec`."""
    return head_map_spec(values, **options).figure()


def head_map_spec(
    values: Float[np.ndarray, "layer head"],
    *,
    metric: Metric,
    selected: Head | None = None,
    kind: Kind = "self",
    theme: Theme = "light",
    scale: Scale | str = LINEAR,
    limits: tuple[float, float] | None = None,
    title: str | None = None,
) -> Spec:
    """Return a map with one number per head, layer 0 at the top.

    A click selects a point of the trace named "heads"; its `customdata` is `[layer, head]`.
    Heads for which the number is not defined (NaN) are hatched.

    Args:
        values: the metric of every head.
        metric: what it is: label, unit, and the limits of the colours where it has any.
        selected: the head to frame; ignored when it is of another kind.
        kind: which attention the heads belong to.
        theme: the page's theme.
        scale: "log" colours by the logarithm, for numbers over several orders of magnitude.
        limits: the range of the colours, in place of the metric's own.
        title: written above the map.

    Raises:
        CaptureError: `values` is not a matrix with at least one layer and head.
        InputError: the scale is unknown, or `selected` is outside the map.
    """
    if values.ndim != 2 or 0 in values.shape:
        raise CaptureError(f"values has shape {values.shape}; expected (layer, head).")
    chosen = scale_named(scale, (LINEAR, LOGARITHMIC))
    layers, heads = values.shape
    if selected is not None and not (0 <= selected.layer < layers and 0 <= selected.head < heads):
        raise InputError(
            f"The selected head {selected.label} is outside the map of {layers} layers x "
            f"{heads} heads."
        )
    low, high = head_limits(values, metric) if limits is None else limits
    specification = head_specification(metric, low, high)
    shown, color_scale = values, specification.color_scale(theme)
    if chosen.logarithmic:
        shown, color_scale = _logarithmic(values, high, color_scale)

    cell = max(14.0, min(44.0, 520 / max(layers, heads)))
    drawn = grid_spec(
        shown,
        number_axis(layers, "L"),
        number_axis(heads, "H"),
        color_scale=color_scale,
        hover="%{y}·%{x}<br>%{z:.3f}",
        theme=theme,
        corner=specification.corner,
        title=title,
        cell=cell,
        gap=2 if cell >= 20 else 1,
    )
    if cell >= 26 and not chosen.logarithmic:
        drawn.data.extend(_numbers(values, low, high, theme))
    for name in drawn.layout:
        if name.startswith(("xaxis", "yaxis")):
            drawn.layout[name] = {**drawn.layout[name], "fixedrange": True}
    if values.size <= CLICK_LIMIT:
        for trace in drawn.data:
            if trace["type"] == "heatmap":
                trace["hoverinfo"] = "skip"
                trace.pop("hovertemplate", None)
        drawn.data.append(_targets(values, metric, kind, cell))
    if selected is not None and selected.kind == kind:
        drawn.layout["shapes"] = [
            outline(
                theme,
                rows=(selected.layer, selected.layer),
                columns=(selected.head, selected.head),
                width=3,
                inset=0.04,
            )
        ]
    return drawn


def head_limits(values: np.ndarray, metric: Metric) -> tuple[float, float]:
    """Return the metric's limits, with the numbers' own extremes at an open end."""
    finite = values[np.isfinite(values)]
    low, high = metric.limits
    low = (float(finite.min()) if finite.size else 0.0) if low is None else low
    high = (float(finite.max()) if finite.size else 1.0) if high is None else high
    return (low, high) if high > low else (low, low + 1.0)


def _logarithmic(
    values: np.ndarray, high: float, color_scale: ColorScale
) -> tuple[np.ndarray, ColorScale]:
    """Return log10 of the numbers over the four decades below the largest."""
    top = float(np.log10(max(high, 1e-12)))
    floor = top - 4
    with np.errstate(divide="ignore", invalid="ignore"):
        shown = np.where(np.isnan(values), np.nan, np.log10(np.maximum(values, 10**floor)))
    ticks = tuple(
        (floor + step, significant(10 ** (floor + step), 2).removesuffix(".0"))
        for step in (0, 2, 4)
    )
    return shown, ColorScale(color_scale.colors, floor, top, color_scale.label, ticks)


def _numbers(values: np.ndarray, low: float, high: float, theme: Theme) -> list[dict[str, Any]]:
    """Return the numbers in their cells, dark on pale colours and pale on dark ones.

    Invisible maps write them, because only those leave out text that does not fit its cell.
    """
    colors = palette(theme)
    largest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
    digits = 0 if largest >= 100 else 1 if largest >= 10 else 2
    shares = (np.nan_to_num(values, nan=low) - low) / (high - low)
    strong = page_color_reads_better(shares, theme)
    layers, heads = values.shape
    clear = "rgba(0,0,0,0)"
    return [
        {
            "type": "heatmap",
            "z": np.where(where & np.isfinite(values), values, np.nan).astype(np.float32),
            "x": number_axis(heads, "H").names,
            "y": number_axis(layers, "L").names,
            "colorscale": [[0, clear], [1, clear]],
            "showscale": False,
            "texttemplate": f"%{{z:.{digits}f}}",
            "textfont": {"color": text_color},
            "hoverongaps": False,
            "name": f"numbers on {name}",
            **CELLS,
        }
        for name, where, text_color in (
            ("strong", strong, colors.page),
            ("weak", ~strong, colors.text),
        )
    ]


def _targets(values: np.ndarray, metric: Metric, kind: Kind, cell: float) -> dict[str, Any]:
    """Return a trace of invisible squares: heatmap cells answer no click in Streamlit."""
    layers, heads = np.indices(values.shape)
    flat = [(int(layer), int(head)) for layer, head in zip(layers.flat, heads.flat, strict=True)]
    unit = f" {metric.unit}" if metric.unit else ""
    invisible = {"marker": {"opacity": 0}}
    return {
        "type": "scatter",
        "x": [f"H{head}" for _, head in flat],
        "y": [f"L{layer}" for layer, _ in flat],
        "mode": "markers",
        "marker": {"symbol": "square", "size": cell, "opacity": 0},
        # Plotly fades what is not selected; here nothing may change but the frame.
        "selected": invisible,
        "unselected": invisible,
        "customdata": flat,
        "text": [
            escape_label(
                f"{metric.label} {decimals(value, 3)}{unit}"
                if np.isfinite(value)
                else f"{metric.label}: not defined for this text"
            )
            for value in values.flat
        ],
        "hovertemplate": [
            f"<b>{escape_label(Head(kind, *at).label)}</b><br>%{{text}}<extra></extra>"
            for at in flat
        ],
        "showlegend": False,
        "name": "heads",
        **CELLS,
    }
