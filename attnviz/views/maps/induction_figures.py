"""Figures of the induction page: the stripes, the losses, the best heads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from attnviz.errors import CaptureError, InputError
from attnviz.types import Head, Kind, Tokens
from attnviz.views.maps.map_specification import diagonal_lines, repetition_diagonals
from attnviz.views.maps.scales import LINEAR, Scale
from attnviz.views.maps.weight_map import draw_weights
from attnviz.views.style.safe_labels import escape_label
from attnviz.views.style.theme import Theme, apply, heading, palette
from attnviz.written_numbers import decimals

__all__ = ["draw_loss", "draw_scores_by_head", "draw_stripe"]


def draw_stripe(
    weights: Float[np.ndarray, "query key"],
    tokens: Tokens,
    *,
    period: int,
    scores: Float[np.ndarray, "query key"] | None = None,
    theme: Theme = "light",
    scale: Scale | str = LINEAR,
    title: str | None = None,
) -> go.Figure:
    """Draw the weights over a sequence that repeats, with two diagonals framed.

    On tokens repeated after `period` places, a head that looks at what came after the earlier
    copy (induction) fills the diagonal `key = query - (period - 1)`; one that looks at the
    earlier copy itself (duplicate token) fills `key = query - period`.

    Args:
        weights: after softmax, a square map.
        tokens: the whole sequence, with both copies.
        period: the number of tokens in one copy.
        scores: before softmax, -inf where masked; shown on hover.
        theme: the page's theme.
        scale: as in `draw_weights`.
        title: written above the map.

    Raises:
        CaptureError: a shape does not match the tokens.
        InputError: the period leaves no room for a second copy.
    """
    length = len(tokens)
    if not 2 <= period < length:
        raise InputError(
            f"The period is {period}; expected at least 2 and less than the {length} tokens."
        )
    figure = draw_weights(
        weights, tokens, tokens, scores=scores, theme=theme, scale=scale, title=title
    )
    colors = palette(theme)
    diagonals = repetition_diagonals(period)
    lines = []
    for diagonal, line, stroke in zip(
        diagonals, diagonal_lines(theme, len(diagonals)), ("──", "┄┄"), strict=True
    ):
        name, offset, color = diagonal.name, diagonal.offset, line["color"]
        figure.add_shape(
            type="path",
            path=_frame(offset, length),
            line=line,
            name=name,
            layer="above",
        )
        lines.append(f'<span style="color:{color}">{stroke}</span> {name}: key = query − {offset}')
    # In the corner of the future, where a causal map has nothing to show.
    return figure.add_annotation(
        text="<br>".join(lines),
        x=1,
        y=1,
        xref="paper",
        yref="paper",
        xanchor="right",
        yanchor="top",
        align="left",
        showarrow=False,
        bgcolor=colors.surface,
        bordercolor=colors.line,
        borderpad=5,
        xshift=-8,
        yshift=-8,
        font={"size": 11, "color": colors.text},
    )


def _frame(offset: int, length: int) -> str:
    """Return the outline of the cells (query, query - offset) as an SVG path over indices."""
    last = length - offset
    corners = (
        (-0.5, offset - 0.5),
        (0.5, offset - 0.5),
        (last - 0.5, length - 1.5),
        (last - 0.5, length - 0.5),
        (last - 1.5, length - 0.5),
        (-0.5, offset + 0.5),
    )
    return f"M {' L '.join(f'{x} {y}' for x, y in corners)} Z"


def draw_loss(
    first: Float[np.ndarray, " position"],
    second: Float[np.ndarray, " position"],
    *,
    theme: Theme = "light",
    unit: str = "nats",
    title: str | None = None,
    height: int = 300,
) -> go.Figure:
    """Draw the loss at every place of the copy, in the first copy and in the second.

    A model with working induction guesses the second copy: its line falls far below. The means in
    the legend leave out the first token of each copy.

    Args:
        first: loss per token in the first copy, NaN where none is defined.
        second: loss per token in the second copy.
        theme: the page's theme.
        unit: of the loss.
        title: written above.
        height: of the figure, in pixels.

    Raises:
        CaptureError: the copies differ in length, or are empty.
    """
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise CaptureError(
            f"first has shape {first.shape} and second {second.shape}; expected two equal "
            "(position,)."
        )
    colors = palette(theme)
    figure = go.Figure()
    for name, losses, color in (
        ("first copy", first, colors.muted),
        ("second copy", second, colors.categorical[0]),
    ):
        later = losses[1:]  # before the first token of a copy there is nothing to continue
        mean = float(np.nanmean(later)) if np.isfinite(later).any() else float("nan")
        figure.add_trace(
            go.Scatter(
                x=np.arange(len(losses), dtype=np.int32),
                y=losses.astype(np.float32),
                mode="lines+markers" if len(losses) <= 60 else "lines",
                line={"color": color, "width": 2},
                marker={"size": 5},
                name=f"{name}, mean {decimals(mean)} {escape_label(unit)}",
                hovertemplate=(
                    f"{name}, place %{{x}}: %{{y:.3f}} {escape_label(unit)}<extra></extra>"
                ),
            )
        )
    apply(figure, theme)
    return figure.update_layout(
        height=height,
        margin={"l": 48, "r": 12, "t": 70 if title else 44, "b": 44, "pad": 0},
        hovermode="closest",
        title=heading(title),
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "itemclick": False,
            "itemdoubleclick": False,
        },
        xaxis={
            "title": {
                "text": "place in the copy",
                "font": {"size": 12, "color": colors.muted},
                "standoff": 8,
            },
            "tickfont": {"size": 11, "color": colors.muted},
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={
            "title": {
                "text": f"loss ({escape_label(unit)})",
                "font": {"size": 12, "color": colors.muted},
                "standoff": 6,
            },
            "tickfont": {"size": 11, "color": colors.muted},
            "rangemode": "tozero",
            "nticks": 6,
        },
    )


def draw_scores_by_head(
    scores: Mapping[str, Float[np.ndarray, "layer head"]],
    *,
    sort_by: str | None = None,
    top: int = 10,
    kind: Kind = "self",
    theme: Theme = "light",
    title: str | None = None,
) -> go.Figure:
    """Draw the heads with the highest score, a bar for each score they have.

    Args:
        scores: by label ("induction", "previous token"), one number per head between 0 and 1.
        sort_by: the label that ranks the heads; the first when None.
        top: how many heads.
        kind: which attention the heads belong to.
        theme: the page's theme.
        title: written above.

    Raises:
        CaptureError: the scores differ in shape.
        InputError: there are no scores, or `sort_by` is not among them.
    """
    if not scores:
        raise InputError("There are no scores to draw; give at least one.")
    ranked_by = next(iter(scores)) if sort_by is None else sort_by
    if ranked_by not in scores:
        raise InputError(f"There is no score {ranked_by!r}; there are {', '.join(scores)}.")
    shapes = {values.shape for values in scores.values()}
    if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
        raise CaptureError(f"The scores have shapes {sorted(shapes)}; expected one (layer, head).")
    ranking = np.nan_to_num(scores[ranked_by], nan=-np.inf)
    order = np.argsort(-ranking, axis=None, kind="stable")[: max(top, 1)]
    layers, heads = np.unravel_index(order, ranking.shape)
    names = [
        escape_label(Head(kind, int(layer), int(head)).label)
        for layer, head in zip(layers, heads, strict=True)
    ]
    colors = palette(theme)
    figure = go.Figure(
        [
            go.Bar(
                y=names,
                x=values[layers, heads].astype(np.float32),
                orientation="h",
                marker={"color": color},
                name=escape_label(label),
                hovertemplate=f"<b>%{{y}}</b><br>{escape_label(label)} %{{x:.3f}}<extra></extra>",
            )
            for (label, values), color in zip(
                scores.items(), _cycle(colors.categorical, len(scores)), strict=True
            )
        ]
    )
    apply(figure, theme)
    return figure.update_layout(
        height=round(len(names) * (10 + 9 * len(scores))) + (112 if title else 86),
        margin={"l": 64, "r": 12, "t": 70 if title else 44, "b": 34, "pad": 0},
        bargap=0.3,
        barmode="group",
        hovermode="closest",
        title=heading(title),
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.0,
            "yanchor": "bottom",
            "traceorder": "normal",
        },
        xaxis={
            "range": [0, 1],
            "tickfont": {"size": 11, "color": colors.muted},
            "nticks": 6,
            "zeroline": False,
        },
        yaxis={
            "type": "category",
            "categoryorder": "array",
            "categoryarray": names,
            "autorange": "reversed",
            "tickfont": {"size": 12},
            "ticks": "",
            "ticklabelstandoff": 5,
            "showgrid": False,
        },
    )


def _cycle(colors: tuple[str, ...], count: int) -> list[str]:
    return [colors[at % len(colors)] for at in range(count)]
