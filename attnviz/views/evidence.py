"""What a label rests on: how spread out heads are, where weight goes, what removing heads costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from attnviz.errors import CaptureError, InputError
from attnviz.findings import LABELS, Finding, Interval, Replacement
from attnviz.types import Head
from attnviz.views.label_colors import label_colors
from attnviz.views.labels import escape_label
from attnviz.views.theme import Palette, Theme, apply, colorscale, heading, palette

__all__ = [
    "MOST_BARS",
    "draw_ablation",
    "draw_entropy_by_layer",
    "draw_received",
    "draw_received_by_head",
]

MOST_BARS = 200
"""More heads than this are not drawn side by side: a bar would be thinner than a line."""

GRID = 121
RIDGE = 0.86  # of the room between two layers
SMOOTHEST = 0.012  # the least width of a bump, in shares of the largest entropy

TICKS = (-3, -1, -0.3, -0.1, -0.03, -0.01, 0, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)
LEAST_STRETCH = 0.005  # nats

WAYS: Mapping[Replacement, str] = {
    "zero": "removed",
    "mean": "its average in its place",
    "uniform": "a plain average in its place",
}


def draw_entropy_by_layer(
    samples: Float[np.ndarray, "layer head sample"],
    findings: Sequence[Finding],
    *,
    selected: Head | None = None,
    theme: Theme = "light",
    title: str | None = None,
) -> go.Figure:
    """Draw how spread out the heads of each layer look, as ridges over texts and heads.

    Below each ridge its heads stand as points at their mean, in the colours of their labels; the
    selected one has its own ridge over its texts.

    Args:
        samples: normalized entropies of each head over texts, or quantiles of them; NaN is
            left out.
        findings: of the same heads.
        selected: the head to set off; ignored when it is of another kind.
        theme: the page's theme.
        title: written above.

    Raises:
        CaptureError: samples and findings are not of the same heads.
    """
    layers, heads, _ = samples.shape
    if len(findings) != layers * heads:
        raise CaptureError(
            f"there are samples of {layers * heads} heads and findings of {len(findings)}"
        )
    colors = palette(theme)
    chosen = selected if selected is not None and selected.kind == findings[0].head.kind else None
    grid = np.linspace(0.0, 1.0, GRID)
    figure = go.Figure()
    for layer in range(layers):
        figure.add_trace(_ridge(grid, samples[layer], layer, colors.muted, 0.28, f"L{layer}"))
    if chosen is not None:
        own = samples[chosen.layer, chosen.head]
        figure.add_trace(_ridge(grid, own, chosen.layer, colors.accent, 0.3, "chosen"))
    figure.add_trace(_heads(samples, findings, theme))
    if chosen is not None:
        figure.add_trace(_ring(samples, chosen, theme))
    apply(figure, theme)
    return figure.update_layout(
        height=round(layers * max(30, min(64, 420 / layers))) + (84 if title else 60),
        margin={"l": 40, "r": 12, "t": 38 if title else 12, "b": 46, "pad": 0},
        hovermode="closest",
        showlegend=False,
        title=heading(title),
        xaxis={
            **_axis("normalized entropy: 0 one key, 1 spread evenly", colors),
            "range": [-0.02, 1.02],
            "fixedrange": True,
        },
        yaxis={
            "tickvals": list(range(layers)),
            "ticktext": [f"L{layer}" for layer in range(layers)],
            "range": [layers - 1 + 0.3, -RIDGE - 0.1],
            "tickfont": {"size": 11, "color": colors.muted},
            "showgrid": True,
            "zeroline": False,
            "fixedrange": True,
        },
    )


def draw_received(
    received: Float[np.ndarray, " place"],
    others: Float[np.ndarray, "head place"],
    *,
    label: str,
    first: str = "first",
    theme: Theme = "light",
    title: str | None = None,
) -> go.Figure:
    """Draw the mean weight that each place of a text gets from a head: a sink stands out.

    Args:
        received: of the chosen head, from those queries that can see the place.
        others: of all heads of its kind; their mean is drawn as a line.
        label: the chosen head's name.
        first: what the first place is called.
        theme: the page's theme.
        title: written above.

    Raises:
        CaptureError: the places differ in number, or there is none.
    """
    if not received.size or others.ndim != 2 or others.shape[1] != received.size:
        raise CaptureError(
            f"expected the weight at the same places for all heads, not {received.shape} and "
            f"{others.shape}"
        )
    colors = palette(theme)
    places = list(range(received.size))
    names = [escape_label(first), *(str(place) for place in places[1:])]
    mean = _mean(others)
    figure = go.Figure(
        [
            go.Bar(
                x=places,
                y=received.astype(np.float32),
                marker={"color": colors.accent},
                name=escape_label(label),
                text=names,
                textposition="none",
                hovertemplate="place %{text}<br>weight %{y:.3f}<extra></extra>",
            ),
            go.Scatter(
                x=places,
                y=mean.astype(np.float32),
                mode="lines+markers",
                line={"color": colors.muted, "width": 1.5, "shape": "hvh"},
                marker={"size": 4, "color": colors.muted},
                name="mean of all heads",
                text=names,
                hovertemplate="place %{text}<br>all heads %{y:.3f}<extra></extra>",
            ),
        ]
    )
    apply(figure, theme)
    return figure.update_layout(
        height=270 + (26 if title else 0),
        margin={"l": 48, "r": 12, "t": 58 if title else 32, "b": 46, "pad": 0},
        bargap=0.25,
        hovermode="closest",
        title=heading(title),
        legend={"orientation": "h", "x": 0, "y": 1.0, "xanchor": "left", "yanchor": "bottom"},
        xaxis={
            **_axis("place in the text", colors),
            "tickvals": places,
            "ticktext": names,
            "tickangle": 0,
            "showgrid": False,
            "fixedrange": True,
            "autotickangles": [0, -90],
            "nticks": 12,
        },
        yaxis={**_axis("mean weight", colors), "rangemode": "tozero", "fixedrange": True},
    )


def draw_received_by_head(
    received: Float[np.ndarray, "layer head place"],
    *,
    first: str = "first",
    theme: Theme = "light",
) -> go.Figure:
    """Draw the mean weight that each place of a text gets, a row per head, layer by layer.

    Args:
        received: of every head, from those queries that can see the place.
        first: what the first place is called.
        theme: the page's theme.

    Raises:
        CaptureError: there is no head or no place.
    """
    if received.ndim != 3 or not received.size:
        raise CaptureError(f"expected [layer, head, place], not {received.shape}")
    layers, heads, places = received.shape
    colors = palette(theme)
    names = [f"L{layer}·H{head}" for layer in range(layers) for head in range(heads)]
    columns = [escape_label(first), *(str(place) for place in range(1, places))]
    row = max(4, min(15, 1400 // len(names)))
    figure = go.Figure(
        go.Heatmap(
            z=received.reshape(-1, places).astype(np.float32),
            x=columns,
            y=names,
            zmin=0,
            zmax=max(float(np.nanmax(received)), 0.01) if np.isfinite(received).any() else 1.0,
            colorscale=colorscale(colors.sequential),
            colorbar={"thickness": 10, "outlinewidth": 0, "tickfont": {"color": colors.muted}},
            hovertemplate="<b>%{y}</b> place %{x}<br>mean weight %{z:.3f}<extra></extra>",
            hoverongaps=False,
            name="received",
        )
    )
    apply(figure, theme)
    for layer in range(1, layers):
        figure.add_hline(y=layer * heads - 0.5, line={"color": colors.page, "width": 2})
    step = 1 if row >= 11 else heads
    return figure.update_layout(
        height=row * len(names) + 70,
        margin={"l": 64, "r": 12, "t": 12, "b": 46, "pad": 0},
        xaxis={**_axis("place in the text", colors), "type": "category", "showgrid": False},
        yaxis={
            "type": "category",
            "autorange": "reversed",
            "tickvals": names[::step],
            "tickfont": {"size": 10, "color": colors.muted},
            "showgrid": False,
        },
    )


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
    average in its place, and circles for a plain average if that was tried. The band is what counts
    as nothing. The scale is stretched around it (an inverse hyperbolic sine): one head may cost a
    thousand times as much as another, and both questions matter.

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
    inks = label_colors(theme)
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
            f"<b>{name}</b> {escape_label(one.name)}<br>{WAYS[way]}: {_told(value)}"
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
                        "color": [inks[one.label] for one in tried],
                        "line": {
                            "color": [colors.accent if one else colors.line for one in marked],
                            "width": [3 if one else 1 for one in marked],
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
            "showgrid": False,
            "fixedrange": True,
            "range": [-0.6, len(names) - 0.4],
        },
        yaxis={
            **_axis("loss change (nats per token)", colors),
            "fixedrange": True,
            "zeroline": True,
            "tickvals": stretch(np.asarray(TICKS)),
            "ticktext": [f"{tick:g}" for tick in TICKS],
            "range": _span(tried, ways, stretch),
        },
    )


def _axis(title: str, colors: Palette) -> dict[str, Any]:
    return {
        "title": {"text": title, "font": {"size": 12, "color": colors.muted}, "standoff": 8},
        "tickfont": {"size": 11, "color": colors.muted},
        "zeroline": False,
        "nticks": 7,
    }


def _ridge(
    grid: np.ndarray, samples: np.ndarray, layer: int, color: str, strength: float, name: str
) -> go.Scatter:
    """The density of the samples, standing on its layer's line."""
    density = _density(grid, samples[np.isfinite(samples)])
    top = float(density.max()) or 1.0
    heights = layer - RIDGE * density / top
    return go.Scatter(
        x=np.concatenate([grid, grid[::-1]]).astype(np.float32),
        y=np.concatenate([heights, np.full(grid.size, float(layer))]).astype(np.float32),
        mode="lines",
        fill="toself",
        line={"color": color, "width": 1},
        fillcolor=_faint(color, strength),
        hoverinfo="skip",
        name=name,
    )


def _density(grid: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """A sum of normal bumps; their width follows Silverman's rule (1986)."""
    if not samples.size:
        return np.zeros(grid.size)
    wide = 1.06 * float(samples.std()) * samples.size**-0.2
    steps = (grid[:, None] - samples[None]) / max(wide, SMOOTHEST)
    found: np.ndarray = np.exp(-0.5 * steps**2).mean(axis=1)
    return found


def _heads(samples: np.ndarray, findings: Sequence[Finding], theme: Theme) -> go.Scatter:
    """Every head as a point at its mean, in its label's colour; degenerate ones on top."""
    inks, colors = label_colors(theme), palette(theme)
    order = sorted(findings, key=lambda one: -LABELS.index(one.label))
    means = [_mean(samples[one.head.layer, one.head.head]).item() for one in order]
    return go.Scatter(
        x=means,
        y=[one.head.layer + 0.08 for one in order],
        mode="markers",
        marker={
            "size": 10,
            "color": [inks[one.label] for one in order],
            "line": {"width": 1, "color": colors.muted},
        },
        customdata=[
            f"<b>{escape_label(one.head.label)}</b> {escape_label(one.name)}" for one in order
        ],
        hovertemplate="%{customdata}<br>normalized entropy %{x:.3f}<extra></extra>",
        name="heads",
    )


def _ring(samples: np.ndarray, head: Head, theme: Theme) -> go.Scatter:
    """A ring around the chosen head, with its name."""
    colors = palette(theme)
    mean = _mean(samples[head.layer, head.head]).item()
    return go.Scatter(
        x=[mean],
        y=[head.layer + 0.08],
        mode="markers+text",
        marker={"size": 16, "color": "rgba(0,0,0,0)", "line": {"width": 3, "color": colors.accent}},
        text=[escape_label(head.label)],
        textposition="middle right" if mean < 0.8 else "middle left",
        textfont={"color": colors.text, "size": 12, "weight": 600},
        hoverinfo="skip",
        name="selected",
    )


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean over the first axis of what is defined; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    found: np.ndarray = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return found


class _Stretch:
    """Where on the axis a change of the loss is drawn."""

    def __init__(self, near: float) -> None:
        self.near = near

    def __call__(self, values: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.arcsinh(values / self.near)
        return found


def _span(tried: Sequence[Finding], ways: Sequence[Replacement], stretch: _Stretch) -> list[float]:
    """The ends of the axis: all that is drawn, and room for a name above it."""
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
    """The arms of the intervals; none where there is no interval."""
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


def _told(value: Interval) -> str:
    said = f"{value.mean:+.3f} nats per token"
    if np.isnan(value.low):
        return f"{said}<br>one text, so no interval"
    return f"{said}<br>95% interval {value.low:+.3f} to {value.high:+.3f}"


def _bar_in_legend(name: str, colors: Palette) -> go.Scatter:
    """What the bars are: they have many colours, and their legend none."""
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
    """An arrow to the chosen head's bar."""
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


def _faint(color: str, strength: float) -> str:
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{strength})"
