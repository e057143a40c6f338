"""Measured numbers with a prediction that stays in grey behind them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from attnviz.errors import InputError
from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.theme import Palette, Theme, apply, palette
from attnviz.written_numbers import significant

__all__ = ["draw_budget_losses", "draw_predicted"]


def draw_budget_losses(
    budgets: Int[np.ndarray, " budget"],
    losses: Float[np.ndarray, " budget"],
    *,
    whole: float,
    allowed: float,
    predicted: int,
    measured: int | None,
    label: str = "tokens kept",
    theme: Theme = "light",
    height: int = 340,
) -> go.Figure:
    """Draw the loss at each budget, with the predicted budget in grey behind the measured one.

    Args:
        budgets: numbers of the axis, ascending.
        losses: mean loss at each, nats.
        whole: loss of the whole cache.
        allowed: nats above it that count as unbroken; drawn as a band.
        predicted: the budget that was predicted.
        label: what the budgets are.
        measured: the budget below which the loss breaks; None if it breaks at all of them.
        theme: the page's theme.
        height: of the figure, in pixels.

    Raises:
        InputError: there is not one loss per budget.
    """
    if budgets.shape != losses.shape:
        raise InputError(f"{len(budgets)} budgets need as many losses, not {len(losses)}")
    colors = palette(theme)
    figure = go.Figure(
        go.Scatter(
            x=budgets,
            y=losses,
            mode="lines+markers",
            line={"color": colors.categorical[0], "width": 2},
            marker={"size": 8},
            name="loss",
            hovertemplate=f"%{{x}} {escape_label(label)}: %{{y:.3f}} nats<extra></extra>",
        )
    )
    figure.add_vline(
        x=predicted, line={"color": colors.muted, "width": 12}, opacity=0.35, layer="below"
    )
    # An annotation on a logarithmic axis has the logarithm as its place, unlike a line.
    figure.add_annotation(
        **_note(colors), x=float(np.log10(predicted)), y=1, yref="paper", yanchor="bottom"
    )
    figure.add_hrect(
        y0=whole,
        y1=whole + allowed,
        fillcolor=colors.muted,
        opacity=0.15,
        line_width=0,
        layer="below",
    )
    figure.add_hline(y=whole, line={"color": colors.muted, "width": 1.5, "dash": "dash"})
    if measured is not None:
        figure.add_vline(x=measured, line={"color": colors.accent, "width": 2})
    apply(figure, theme)
    return figure.update_layout(
        height=height,
        showlegend=False,
        margin={"l": 60, "r": 12, "t": 32, "b": 48, "pad": 0},
        xaxis={
            "type": "log",
            "title": {"text": escape_label(label)},
            "tickvals": [int(one) for one in budgets],
        },
        yaxis={"title": {"text": "loss (nats per token)"}},
    )


def draw_predicted(
    numbers: Mapping[str, float], *, predicted: str, label: str, theme: Theme = "light"
) -> go.Figure:
    """Draw a bar per name, with a grey band behind the one that was predicted to be largest.

    Args:
        numbers: measured numbers by name, the first on top.
        predicted: name of the prediction.
        label: name of the number.
        theme: the page's theme.

    Raises:
        InputError: the prediction is none of the names.
    """
    if predicted not in numbers:
        raise InputError(f"there is no {predicted!r} among {', '.join(numbers)}")
    colors = palette(theme)
    names = list(numbers)
    figure = go.Figure(
        go.Bar(
            y=[escape_label(one) for one in names],
            x=list(numbers.values()),
            orientation="h",
            width=0.45,
            marker={"color": colors.categorical[0]},
            text=[significant(one, 3) for one in numbers.values()],
            textposition="auto",
            hovertemplate="<b>%{y}</b>: %{x:.4g}<extra></extra>",
        )
    )
    at = names.index(predicted)
    figure.add_hrect(
        y0=at - 0.45,
        y1=at + 0.45,
        fillcolor=colors.muted,
        opacity=0.3,
        line_width=0,
        layer="below",
    )
    figure.add_annotation(
        **_note(colors), x=1, xref="paper", xanchor="right", y=at - 0.45, yanchor="top"
    )
    apply(figure, theme)
    return figure.update_layout(
        height=90 + 56 * len(names),
        showlegend=False,
        margin={"l": 12, "r": 12, "t": 10, "b": 44, "pad": 4},
        xaxis={"title": {"text": escape_label(label)}, "rangemode": "tozero"},
        yaxis={"autorange": "reversed", "automargin": True, "showgrid": False},
    )


def _note(colors: Palette) -> dict[str, object]:
    """Return the settings of the words beside a prediction."""
    return {
        "text": "your prediction",
        "font": {"color": colors.muted, "size": 11},
        "showarrow": False,
    }
