"""Map of the attention weights of one head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float, Int

from attnviz.errors import InputError
from attnviz.types import SINK_SHARE, Tokens
from attnviz.views.maps.heatmap import CELLS, check_shape, draw_grid, note, outline
from attnviz.views.maps.map_specification import LOG_FLOOR, weight_specification
from attnviz.views.maps.scales import LINEAR, Scale, scale_named
from attnviz.views.style.safe_labels import escape_label, shorten
from attnviz.views.style.theme import Theme, palette
from attnviz.views.style.token_axes import Axis, labels_of, token_axis
from attnviz.written_numbers import percent

__all__ = ["LOG_FLOOR", "draw_weights", "sink_columns"]


def draw_weights(
    weights: Float[np.ndarray, "query key"],
    query_tokens: Tokens | Sequence[str],
    key_tokens: Tokens | Sequence[str],
    *,
    scores: Float[np.ndarray, "query key"] | None = None,
    ranks: Int[np.ndarray, "query key"] | None = None,
    theme: Theme = "light",
    scale: Scale | str = LINEAR,
    title: str | None = None,
    selected_query: int | None = None,
    value_label: str = "weight",
    limit: float | None = 1.0,
) -> go.Figure:
    """Draw the attention map of one head: queries downward, keys to the right.

    Cells a query may not see (weight NaN, or score -inf) are hatched, which is not the colour
    of weight 0.

    >>> import numpy as np
    >>> from attnviz import views
    >>> from attnviz.types import SINK_SHARE, Tokens
    >>> tokens = Tokens(np.arange(2), ("The", "cat"), np.zeros(2, bool))
    >>> weights = np.array([[1.0, np.nan], [0.25, 0.75]])
    >>> figure = views.draw_weights(weights, tokens, tokens)
    >>> "heatmap" in [trace.type for trace in figure.data]
    True

    Args:
        weights: after softmax; NaN where masked.
        query_tokens: one per row; tokens or plain labels.
        key_tokens: one per column; tokens or plain labels.
        scores: before softmax, -inf where masked; shown on hover.
        ranks: 1 for the key with the row's largest weight; shown on hover.
        theme: the page's theme.
        scale: "linear" from 0 to the largest weight; "log" for small weights beside large ones;
            "hide_sinks" leaves the sinks out of the colours and says which and how much.
        title: written above the map.
        selected_query: the row to frame.
        value_label: what the number is called, when it is not the plain weight.
        limit: the weight at the last colour; 1 makes colours comparable between maps, None takes
            the map's own largest weight.

    Raises:
        CaptureError: an array's shape does not match the tokens.
        InputError: the scale is unknown, or `selected_query` is not a row.
    """
    chosen = scale_named(scale)
    shape = (len(query_tokens), len(key_tokens))
    for name, array in (("weights", weights), ("scores", scores), ("ranks", ranks)):
        if array is not None:
            check_shape(name, array, shape, "(query, key)")
    if selected_query is not None and not 0 <= selected_query < shape[0]:
        raise InputError(f"There is no row {selected_query}; the map has rows 0 to {shape[0] - 1}.")
    masked = ~np.isfinite(weights)
    if scores is not None:
        masked = masked | np.isneginf(scores)

    hidden = sink_columns(weights, masked) if chosen.without_sinks else np.array([], dtype=int)
    shown = np.where(masked, np.nan, weights)
    visible = np.delete(shown, hidden, axis=1)
    visible = visible[np.isfinite(visible)]
    largest = float(visible.max()) if visible.size else 1.0
    largest = largest if largest > 0 else 1.0
    high = largest if limit is None or chosen.without_sinks else limit
    specification = weight_specification(
        value=value_label, high=high, logarithmic=chosen.logarithmic
    )
    rows, columns = token_axis(query_tokens), token_axis(key_tokens)
    numbers, hover = _hover(weights, scores, ranks is not None, escape_label(value_label), chosen)
    figure = draw_grid(
        _logarithm(shown) if chosen.logarithmic else shown,
        rows,
        columns,
        color_scale=specification.color_scale(theme),
        hover=hover,
        customdata=numbers,
        counts=ranks,
        theme=theme,
        empty=specification.missing,
        legend=specification.missing_caption,
        corner=specification.corner,
        title=title,
    )
    if hidden.size:
        _hide(figure, shown, hidden, rows, columns, theme)
    if chosen.without_sinks:
        note(figure, _sink_lines(shown, hidden, labels_of(key_tokens)), theme)
    if selected_query is not None:
        figure.add_shape(
            outline(
                theme,
                rows=(selected_query, selected_query),
                columns=(0, shape[1] - 1),
            )
        )
    return figure


def sink_columns(
    weights: Float[np.ndarray, "query key"], masked: Bool[np.ndarray, "query key"]
) -> Int[np.ndarray, " column"]:
    """Return the keys whose mean weight over the rows that see them is above `SINK_SHARE`.

    As in `attnviz.metrics.sinks`, only keys count that are seen by at least half as many rows as
    any key and, in a square map, whose mean without the diagonal is above `SINK_SHARE` too.
    """
    if len(weights) < 2:
        return np.array([], dtype=int)
    seen = (~masked).sum(axis=0)
    mass = np.where(masked, 0.0, weights).sum(axis=0)
    sinks = (mass / np.maximum(seen, 1) > SINK_SHARE) & (2 * seen >= seen.max())
    if weights.shape[0] == weights.shape[1]:
        diagonal = np.where(np.diagonal(masked), 0.0, np.diagonal(weights))
        sinks &= (mass - diagonal) / np.maximum(seen - 1, 1) > SINK_SHARE
    return np.flatnonzero(sinks)


def _logarithm(shown: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(shown), np.nan, np.log10(np.fmax(shown, LOG_FLOOR)))


def _hover(
    weights: np.ndarray,
    scores: np.ndarray | None,
    ranked: bool,
    label: str,
    scale: Scale,
) -> tuple[np.ndarray | None, str]:
    """Return the numbers that a cell says besides its colour, and the sentence they go into."""
    layers: list[np.ndarray] = []
    lines = ["<b>%{y}</b> → <b>%{x}</b>"]
    if scale.logarithmic:
        layers.append(weights)
        lines.append(f"{label} %{{customdata[0]:.4f}}")
    else:
        lines.append(f"{label} %{{z:.4f}}")
    if scores is not None:
        lines.append(f"score %{{customdata[{len(layers)}]:.3f}}")
        layers.append(scores)
    if ranked:
        lines.append("rank %{text}")
    return (np.stack(layers, axis=-1) if layers else None), "<br>".join(lines)


def _hide(
    figure: go.Figure,
    shown: np.ndarray,
    hidden: np.ndarray,
    rows: Axis,
    columns: Axis,
    theme: Theme,
) -> None:
    """Cover the sinks with one flat tone that is in no scale; the map below still answers."""
    tone = palette(theme).hatch
    figure.add_trace(
        go.Heatmap(
            z=shown[:, hidden].astype(np.float32),
            x=[columns.names[at] for at in hidden],
            y=rows.names,
            colorscale=[[0, tone], [1, tone]],
            showscale=False,
            hoverinfo="skip",
            name="sinks",
            **CELLS,
        )
    )


def _sink_lines(shown: np.ndarray, hidden: np.ndarray, key_labels: Sequence[str]) -> list[str]:
    """Say which keys are left out of the colours, and what share of all weight they hold."""
    if not hidden.size:
        return [f"no sink: no key holds over {percent(SINK_SHARE)} of the weight"]
    share = float(np.nansum(shown[:, hidden]) / max(float(np.nansum(shown)), 1e-12))
    named = [f"{escape_label(shorten(key_labels[at], 12))} ({at})" for at in hidden[:2]]
    more = f" and {len(hidden) - 2} more" if len(hidden) > 2 else ""
    holds = "hold" if len(hidden) > 1 else "holds"
    part = percent(share)
    return [f"grey: {', '.join(named)}{more}", f"{holds} {part} of all weight, not coloured"]
