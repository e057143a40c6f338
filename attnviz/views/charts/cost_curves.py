"""Costs of attention variants against the length of the text, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from attnviz.errors import InputError
from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.size_axis import size_powers_axis
from attnviz.views.style.theme import Theme, apply, palette
from attnviz.written_numbers import count, size

__all__ = ["TradePoints", "draw_costs", "draw_trades"]

_LEGEND = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}
ERROR_FLOOR = 1e-4
"""Smaller errors are drawn here."""

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


@dataclass(frozen=True, eq=False)
class TradePoints:
    """Settings of a variant: cost and error of each.

    Attributes:
        label: how the variant is written.
        settings: value of the setting of each point.
        shares: multiplications relative to exact attention.
        errors: error of the outputs relative to the exact outputs.
    """

    label: str
    settings: Sequence[int]
    shares: Sequence[float]
    errors: Sequence[float]


def draw_costs(
    tokens: Int[np.ndarray, " length"],
    curves: Mapping[str, Float[np.ndarray, " length"]],
    *,
    label: str,
    in_bytes: bool = False,
    marked: int | None = None,
    theme: Theme = "light",
    height: int = 380,
) -> go.Figure:
    """Draw a line per variant; both axes are logarithmic.

    Args:
        tokens: lengths of the text, ascending.
        curves: cost at each length by name, positive; the first is drawn strongest.
        label: name of the cost.
        in_bytes: costs are numbers of bytes, and written as sizes.
        marked: length with a vertical line.
        theme: the page's theme.
        height: of the figure, in pixels.

    Raises:
        InputError: a curve has not one number per length, or a number that is not positive.
    """
    colors = palette(theme)
    figure = go.Figure()
    for at, (name, numbers) in enumerate(curves.items()):
        if numbers.shape != tokens.shape or not bool(np.all(numbers > 0)):
            raise InputError(
                f"{name!r} needs one positive number for each of {len(tokens)} lengths"
            )
        figure.add_trace(
            go.Scatter(
                x=tokens,
                y=numbers,
                mode="lines",
                name=escape_label(name),
                line={
                    "color": colors.categorical[at % len(colors.categorical)],
                    "width": 3 if at == 0 else 2,
                    "dash": _DASHES[at % len(_DASHES)],
                },
                customdata=[size(one) if in_bytes else count(one) for one in numbers],
                hovertemplate=(
                    f"{escape_label(name)}<br>%{{x:,}} tokens: %{{customdata}}<extra></extra>"
                ),
            )
        )
    if marked is not None:
        figure.add_vline(x=marked, line={"color": colors.accent, "width": 1.5, "dash": "dot"})
    apply(figure, theme)
    axis: dict[str, object] = {"type": "log", "exponentformat": "power", "dtick": 1}
    if in_bytes:
        every = np.concatenate(list(curves.values()))
        axis = size_powers_axis(float(every.min()), float(every.max()))
    return figure.update_layout(
        height=height,
        margin={"l": 60, "r": 12, "t": 60, "b": 48, "pad": 0},
        legend=_LEGEND,
        hovermode="closest",
        xaxis={"type": "log", "title": {"text": "tokens"}, "tickformat": ",d", "dtick": 1},
        yaxis={"title": {"text": escape_label(label)}, **axis},
    )


def draw_trades(
    variants: Sequence[TradePoints],
    *,
    theme: Theme = "light",
    height: int = 420,
) -> go.Figure:
    """Draw error against cost, a line of settings per variant; lower left is better.

    Args:
        variants: the settings of each variant, in the order of their values.
        theme: the page's theme.
        height: of the figure, in pixels.
    """
    colors = palette(theme)
    symbols = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "pentagon")
    figure = go.Figure()
    for at, one in enumerate(variants):
        figure.add_trace(
            go.Scatter(
                x=list(one.shares),
                # an error of zero has no place on a logarithmic axis
                y=[max(error, ERROR_FLOOR) for error in one.errors],
                customdata=list(zip(one.settings, one.errors, strict=True)),
                mode="lines+markers",
                name=escape_label(one.label),
                line={"color": colors.categorical[at % len(colors.categorical)], "width": 1.5},
                marker={"symbol": symbols[at % len(symbols)], "size": 9},
                hovertemplate=(
                    f"<b>{escape_label(one.label)}</b>, setting %{{customdata[0]}}<br>"
                    "%{x:.3g} of the multiplications, error %{customdata[1]:.3g}<extra></extra>"
                ),
            )
        )
    figure.add_vline(x=1, line={"color": colors.muted, "width": 1, "dash": "dot"})
    apply(figure, theme)
    return figure.update_layout(
        height=height,
        margin={"l": 60, "r": 12, "t": 76, "b": 48, "pad": 0},
        legend=_LEGEND,
        hovermode="closest",
        xaxis={
            "type": "log",
            "title": {"text": "multiplications, relative to exact attention"},
            "dtick": 1,
        },
        yaxis={
            "type": "log",
            "title": {"text": "error of the outputs"},
            "exponentformat": "power",
            "dtick": 1,
            "range": [np.log10(ERROR_FLOOR) - 0.2, 1.0],
        },
    )
