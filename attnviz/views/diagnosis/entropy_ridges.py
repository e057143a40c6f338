"""Normalized entropy of heads, layer by layer: ridges over texts, and each head at its mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from attnviz.errors import CaptureError
from attnviz.findings import LABELS, Finding
from attnviz.types import Head
from attnviz.views.diagnosis.label_colors import label_colors
from attnviz.views.style.plotly_numbers import known_mean
from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.theme import Theme, apply, heading, palette
from attnviz.views.style.token_axes import value_axis

__all__ = ["draw_entropy_by_layer"]

GRID = 121
RIDGE = 0.86  # of the room between two layers
SMOOTHEST = 0.012  # the least width of a bump, in shares of the largest entropy


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
    selected one has a separate ridge over its texts.

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
        chosen_entropy = samples[chosen.layer, chosen.head]
        figure.add_trace(_ridge(grid, chosen_entropy, chosen.layer, colors.accent, 0.3, "chosen"))
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
            **value_axis("normalized entropy: 0 one key, 1 spread evenly", colors),
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


def _ridge(
    grid: np.ndarray, samples: np.ndarray, layer: int, color: str, strength: float, name: str
) -> go.Scatter:
    """Return the density of the samples, standing on its layer's line."""
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
    """Return a sum of normal bumps; their width follows Silverman's rule (1986)."""
    if not samples.size:
        return np.zeros(grid.size)
    wide = 1.06 * float(samples.std()) * samples.size**-0.2
    steps = (grid[:, None] - samples[None]) / max(wide, SMOOTHEST)
    density: np.ndarray = np.exp(-0.5 * steps**2).mean(axis=1)
    return density


def _heads(samples: np.ndarray, findings: Sequence[Finding], theme: Theme) -> go.Scatter:
    """Return every head as a point at its mean, in its label's colour; degenerate ones on top."""
    color_of, colors = label_colors(theme), palette(theme)
    order = sorted(findings, key=lambda one: -LABELS.index(one.label))
    means = [known_mean(samples[one.head.layer, one.head.head]).item() for one in order]
    return go.Scatter(
        x=means,
        y=[one.head.layer + 0.08 for one in order],
        mode="markers",
        marker={
            "size": 10,
            "color": [color_of[one.label] for one in order],
            "line": {"width": 1, "color": colors.muted},
        },
        customdata=[
            f"<b>{escape_label(one.head.label)}</b> {escape_label(one.name)}" for one in order
        ],
        hovertemplate="%{customdata}<br>normalized entropy %{x:.3f}<extra></extra>",
        name="heads",
    )


def _ring(samples: np.ndarray, head: Head, theme: Theme) -> go.Scatter:
    """Return a ring around the chosen head, with its name."""
    colors = palette(theme)
    mean = known_mean(samples[head.layer, head.head]).item()
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


def _faint(color: str, strength: float) -> str:
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{strength})"
