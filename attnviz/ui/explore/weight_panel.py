"""Map of a head on a page, by tokens or words, with its scale, its bins and a download."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st
from jaxtyping import Float

from attnviz import words
from attnviz.attention import AttentionStack
from attnviz.attention.stack.map_axes import MapAxes
from attnviz.attention.stack.map_tiles import SCORED, Grid, How, Window
from attnviz.metrics.sinks import sink_keys
from attnviz.spreadsheets import as_csv
from attnviz.types import SINK_SHARE, Head, Tokens
from attnviz.ui.components.choices import choice
from attnviz.ui.components.figures_and_tables import file_download
from attnviz.ui.components.plotly_map import plotly_map
from attnviz.ui.explore.unit_choice import Units, axes_of, words_note
from attnviz.ui.server.run_places import in_turn
from attnviz.ui.session import state
from attnviz.ui.session.error_messages import explained
from attnviz.ui.session.model_cache import Request
from attnviz.ui.session.plain_text import show_plain
from attnviz.views.maps.map_specification import weight_specification
from attnviz.views.maps.scales import SCALES, Scale, scale_named
from attnviz.written_numbers import percent

__all__ = ["LONG", "choose_scale", "is_long", "show_map", "weights_table"]

LONG = SCORED
"""Texts with more tokens than this are sent in parts, and without scores."""

POOLS: dict[How, str] = {"max": "Largest of a bin", "mean": "Mean of a bin"}


def is_long(axes: AttentionStack | MapAxes) -> bool:
    """Return whether a map has more cells than can be shown one by one."""
    return max(axes.shape[-2:]) > LONG


def weights_table(
    weights: Float[np.ndarray, "query key"],
    query_tokens: Tokens,
    key_tokens: Tokens,
    window: Window,
) -> pd.DataFrame:
    """Return a window of a map as a table; tokens are numbered so that none is mistaken."""
    rows, columns = (
        [f"{place} {tokens.labels[place]}" for place in range(part.start, part.stop)]
        for tokens, part in zip((query_tokens, key_tokens), window.slices, strict=True)
    )
    return pd.DataFrame(weights, index=rows, columns=columns)


def show_map(
    request: Request,
    head: Head,
    prefix: str = "",
    *,
    scale: Scale | None = None,
    units: Units = "tokens",
) -> None:
    """Show one head's map with its controls and downloads.

    Args:
        request: whose capture; it is looked up anew, so that a session keeps no long one alive.
        head: which head.
        prefix: of the controls' names, where a page has several maps.
        scale: of the colours, where several maps share one; the map shows a choice when None.
        units: what rows and columns stand for.
    """
    if is_long(axes_of(request, head.kind, units)):
        _long_map(request, head, prefix, scale, units)
    else:
        with st.container():  # a fragment has one too: the map stays the same when the text grows
            _map(request, head, prefix, scale, units)


@st.fragment
@in_turn
@explained()
def _long_map(request: Request, head: Head, prefix: str, scale: Scale | None, units: Units) -> None:
    """Show the map in a fragment: zooming runs only this, a chosen row the whole page."""
    if _map(request, head, prefix, scale, units):
        st.rerun(scope="app")


def _map(request: Request, head: Head, prefix: str, scale: Scale | None, units: Units) -> bool:
    """Show the map and its controls; return whether a row was clicked just now."""
    axes = axes_of(request, head.kind, units)
    stack = axes.stack
    place = st.container()
    controls = st.container(horizontal=True, vertical_alignment="center")
    with controls:
        scale = scale or choose_scale(f"{prefix}scale")
        how = _choose_pool(f"{prefix}pool") if is_long(axes) else "max"
    sinks = tuple(sink_keys(stack, head).tolist()) if scale.without_sinks else ()
    aside = axes.columns_of(sinks)

    def cut(window: Window) -> Grid:
        if is_long(axes) and window == Window.whole(axes.shape):
            return _overview(request, head, how, aside, units)
        return axes.grid(head, window, how=how, aside=aside)

    name = f"attnviz-{prefix.replace('_', '-')}{head.kind}-L{head.layer}H{head.head}"
    if axes.merged:
        name += "-words"
    value = "weight of words" if axes.merged else "weight"
    with place:
        row_note(head)
        token = state.token(len(stack.query_tokens))
        events = plotly_map(
            weight_specification(
                value=value if how == "max" else f"mean {value}",
                high=_highest(request, head, how, aside, units),
                logarithmic=scale.logarithmic,
            ),
            axes.queries.tokens.labels,
            axes.keys.tokens.labels,
            cut,
            depends_on=(request, head, units),
            how=how,
            aside=aside,
            selected=None if token is None else (axes.queries.index_of(token), None),
            on_cell=lambda row, column: state.choose_token(
                None if row is None else axes.queries.last_token(row)
            ),
            filename=name,
            alt=f"{head.label} {words.headline(stack, head.layer, head.head)}",
            key=f"{prefix}weights",
        )
        if scale.without_sinks:
            show_plain(_sink_sentence(stack, head, sinks), small=True)
        words_note(axes)
    with controls:
        _cells_download(axes, head, events.window, key=f"{prefix}weights:csv", filename=name)
    return events.clicked


def choose_scale(key: str) -> Scale:
    """Show the choice of scales and return the chosen one."""
    name = choice(
        "Colours",
        {one.name: one.label for one in SCALES},
        key,
        show_label=False,
        explanation="Logarithmic shows small weights; without sinks the colours span what is left "
        "when the keys that take most of the weight are set aside.",
    )
    return scale_named(name)


def row_note(head: Head) -> None:
    """Show which token a decoder's row belongs to."""
    if head.kind in ("decoder", "cross"):
        st.caption("Row: the token just read. Its weights are used to choose the next token.")


def _choose_pool(key: str) -> How:
    """Show the choice of what stands for a bin, and return it."""
    return choice(
        "Bins",
        POOLS,
        key,
        show_label=False,
        explanation="While there are more tokens in view than pixels, a point stands for a bin "
        "of cells: by its largest weight, which loses no single look, or by the mean of its "
        "visible cells. Zoomed in to 256 tokens or fewer, every cell is one exact weight.",
    )


@st.cache_resource(max_entries=64, show_spinner="Pooling the map …")
def _overview(request: Request, head: Head, how: How, aside: tuple[int, ...], units: Units) -> Grid:
    """Return the whole map in at most 256 x 256 bins.

    They take a quarter of a megabyte, and are made from all weights.
    """
    axes = axes_of(request, head.kind, units)
    return axes.grid(head, Window.whole(axes.shape), how=how, aside=aside)


def _highest(
    request: Request, head: Head, how: How, aside: tuple[int, ...], units: Units
) -> float | None:
    """Return the weight at the last colour: 1, or the largest beside the sinks.

    None for means: they depend on the size of a bin, so the colours follow what is in view.
    """
    if how == "mean":
        return None
    if aside:
        return _overview(request, head, how, aside, units).without(aside).highest
    return 1.0


def _sink_sentence(stack: AttentionStack, head: Head, sinks: tuple[int, ...]) -> str:
    if not sinks:
        return f"No sink: no key holds over {percent(SINK_SHARE)} of the weight."
    mass = stack.statistic("key_mass")[head.layer, head.head]
    named = [f"{words.quoted(stack.key_tokens.labels[sink])} ({sink})" for sink in sinks[:3]]
    share = float(mass[list(sinks)].sum() / mass.sum())
    takes, what = ("take", "columns are") if len(sinks) > 1 else ("takes", "column is")
    return f"{', '.join(named)} {takes} {percent(share)} of all weight; the {what} grey."


def _cells_download(axes: MapAxes, head: Head, seen: Window, *, key: str, filename: str) -> None:
    """Show the whole map of a short text, or the part of a long one that is on the screen."""
    if is_long(axes):
        filename = f"{filename}-queries{seen.query_start}-keys{seen.key_start}"
    else:
        seen = Window.whole(axes.shape)
    file_download(
        "Weights as CSV",
        lambda: as_csv(
            weights_table(
                axes.weights(head, *seen.slices),
                axes.queries.tokens,
                axes.keys.tokens,
                seen,
            ),
            index=True,
        ).encode("utf-8-sig"),
        key=key,
        filename=f"{filename}.csv",
        mime="text/csv",
        disabled=not seen.exact,
        explanation="The exact weights of the part on the screen."
        if seen.exact
        else "Zoom in to 256 tokens or fewer: then the cells on the screen can be saved.",
    )
