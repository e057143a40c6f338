"""Mean weight that each position receives from a head."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from attnviz.errors import CaptureError
from attnviz.types import Family, Kind
from attnviz.views.style.plotly_numbers import known_mean
from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.theme import Theme, apply, colorscale, heading, palette
from attnviz.views.style.token_axes import value_axis

__all__ = ["draw_received", "draw_received_by_head", "well_seen_places"]


def well_seen_places(
    received: Float[np.ndarray, "layer head place"], kind: Kind, family: Family
) -> Float[np.ndarray, "layer head place"]:
    """Return the weight at the places that at least half of the tokens of a window can see.

    Place k of n is seen by n - k tokens of a model that looks back only: a head that looks at
    itself or at the token before it gives the last places all weight there is. Where every token
    sees every place, nothing is left out.
    """
    looks_back = kind == "decoder" or (kind == "self" and family == "decoder")
    return received[..., : received.shape[-1] // 2 + 1] if looks_back else received


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
    mean = known_mean(others)
    step = 1 if len(places) <= 8 else 4
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
            **value_axis("place in the text", colors),
            "tickvals": places[::step],
            "ticktext": names[::step],
            "tickangle": 0,
            "showgrid": False,
            "fixedrange": True,
        },
        yaxis={**value_axis("mean weight", colors), "rangemode": "tozero", "fixedrange": True},
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
    step = 1 if row >= 11 else heads
    return figure.update_layout(
        # All at once: Plotly copies every shape it has whenever one is added.
        shapes=[
            {
                "type": "line",
                "xref": "x domain",
                "x0": 0,
                "x1": 1,
                "y0": layer * heads - 0.5,
                "y1": layer * heads - 0.5,
                "yref": "y",
                "line": {"color": colors.page, "width": 2},
            }
            for layer in range(1, layers)
        ],
        height=row * len(names) + 70,
        margin={"l": 64, "r": 12, "t": 12, "b": 46, "pad": 0},
        xaxis={**value_axis("place in the text", colors), "type": "category", "showgrid": False},
        yaxis={
            "type": "category",
            "autorange": "reversed",
            "tickvals": names[::step],
            "tickfont": {"size": 10, "color": colors.muted},
            "showgrid": False,
        },
    )
