"""One head's map on a page: drawn whole when it is small, to zoom into when it is long."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st
from jaxtyping import Float, Int

from attnviz import words
from attnviz.attention import AttentionStack
from attnviz.types import Head, Tokens
from attnviz.ui import state
from attnviz.ui.caches import Request, captured
from attnviz.ui.messages import explained, plain
from attnviz.ui.pictures import show_picture, table_download
from attnviz.ui.theme import current_theme
from attnviz.ui.tiles import Grid, How, Window, grid, sink_keys
from attnviz.ui.zoom_map import zoom_map
from attnviz.views import draw_weights
from attnviz.views.weights import SINK_SHARE, Scale

__all__ = ["LONG", "is_long", "long_map", "ranks", "short_map", "weights_table"]

LONG = 128
"""Texts with more tokens than this get the map to zoom into."""

SCALES: dict[Scale, str] = {"linear": "Linear", "log": "Logarithmic", "hide_sinks": "Without sinks"}
POOLS: dict[How, str] = {"max": "Largest", "mean": "Mean"}


def is_long(stack: AttentionStack) -> bool:
    """Whether a map has more cells than can be shown one by one."""
    return max(stack.shape[2:]) > LONG


def ranks(weights: Float[np.ndarray, "query key"]) -> Int[np.ndarray, "query key"]:
    """The place of each key in its row: 1 is the largest weight."""
    order = np.argsort(-weights, axis=1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(1, weights.shape[1] + 1)[None, :], axis=1)
    return places


def weights_table(
    weights: Float[np.ndarray, "query key"],
    query_tokens: Tokens,
    key_tokens: Tokens,
    window: Window | None = None,
) -> pd.DataFrame:
    """A map, or a window of it, as a table; tokens are numbered so that none is mistaken."""
    part = window or Window(0, len(query_tokens), 0, len(key_tokens))
    rows, columns = (
        [f"{place} {tokens.labels[place]}" for place in range(start, stop)]
        for tokens, start, stop in (
            (query_tokens, part.query_start, part.query_stop),
            (key_tokens, part.key_start, part.key_stop),
        )
    )
    return pd.DataFrame(weights, index=rows, columns=columns)


def short_map(stack: AttentionStack, head: Head) -> None:
    """The whole map with every cell's weight, score and rank."""
    weights = stack.weights(head.layer, head.head)
    picture = st.container()
    left, right = st.columns([3, 2], vertical_alignment="center")
    with left:
        scale = choose_scale("scale")
    figure = draw_weights(
        weights,
        stack.query_tokens,
        stack.key_tokens,
        scores=stack.scores(head.layer, head.head),
        ranks=ranks(weights),
        theme=current_theme(),
        scale=scale,
        selected_query=state.token(len(stack.query_tokens)),
    )
    name = _name(head)
    with picture:
        row_note(head)
        show_picture(figure, key="weights", filename=name, alt=_alt(stack, head))
    with right:
        table_download(
            weights_table(weights, stack.query_tokens, stack.key_tokens),
            key="weights:csv",
            filename=name,
            label="Weights as CSV",
            index=True,
        )


@st.fragment
@explained()
def long_map(request: Request, head: Head, prefix: str = "") -> None:
    """The map to zoom into; zooming runs only this again.

    Args:
        request: whose capture; it is looked up anew, so that a session keeps no long one alive.
        head: which head.
        prefix: of the controls' names, where a page has several maps.
    """
    stack = captured(request)[head.kind]
    place = st.container()
    controls = st.container(horizontal=True, vertical_alignment="center")
    with controls:
        scale = choose_scale(f"{prefix}scale")
        how = _choose_pool(f"{prefix}pool")
    sinks = tuple(sink_keys(stack, head).tolist()) if scale == "hide_sinks" else ()

    def cut(window: Window) -> Grid:
        if window == Window.whole(stack.shape):
            return _overview(request, head, how, sinks)
        return grid(stack, head, window, how=how, aside=np.array(sinks, dtype=int))

    name = _name(head)
    with place:
        row_note(head)
        seen = zoom_map(
            stack,
            head,
            cut,
            of=repr(request),
            how=how,
            scale=scale,
            aside=sinks,
            selected=state.token(len(stack.query_tokens)),
            filename=name,
            alt=_alt(stack, head),
            key=f"{prefix}zoom_map",
        )
        if scale == "hide_sinks":
            st.caption(_sink_sentence(stack, head, sinks))
    with controls:
        _cells_download(stack, head, seen, key=f"{prefix}zoom_map:csv", filename=name)


def choose_scale(key: str) -> Scale:
    """How weights become colours."""
    chosen: Scale = st.segmented_control(
        "Colours",
        list(SCALES),
        default="linear",
        format_func=SCALES.__getitem__,
        key=key,
        required=True,
        persist_state="session",
        label_visibility="collapsed",
        help="Logarithmic shows small weights; without sinks the colours span what is left when "
        "the keys that take most of the weight are set aside.",
    )
    return chosen


def row_note(head: Head) -> None:
    """Whose looking a decoder's row is: easily taken for the next token's."""
    if head.kind in ("decoder", "cross"):
        st.caption("Each row is the token just read; it looks while the next one is chosen.")


def _choose_pool(key: str) -> How:
    chosen: How = st.segmented_control(
        "Bins",
        list(POOLS),
        default="max",
        format_func=POOLS.__getitem__,
        key=key,
        required=True,
        persist_state="session",
        label_visibility="collapsed",
        help="While there are more tokens in view than pixels, a point stands for a bin of cells: "
        "by its largest weight, which loses no single look, or by the mean of its visible cells. "
        "Zoomed in to 256 tokens or fewer, every cell is its own exact weight.",
    )
    return chosen


@st.cache_resource(max_entries=64, show_spinner="Pooling the map …")
def _overview(request: Request, head: Head, how: How, sinks: tuple[int, ...]) -> Grid:
    """The whole map in at most 256 x 256 bins: a quarter of a megabyte, made from all weights."""
    stack = captured(request)[head.kind]
    whole = Window.whole(stack.shape)
    return grid(stack, head, whole, how=how, aside=np.array(sinks, dtype=int))


def _sink_sentence(stack: AttentionStack, head: Head, sinks: tuple[int, ...]) -> str:
    if not sinks:
        return f"No sink: no key holds over {SINK_SHARE:.0%} of the weight."
    mass = np.asarray(stack.layers[head.layer].rows.key_mass[head.head])
    named = [f"{plain(words.quoted(stack.key_tokens.labels[sink]))} ({sink})" for sink in sinks[:3]]
    share = float(mass[list(sinks)].sum() / mass.sum())
    holds = "hold" if len(sinks) > 1 else "holds"
    return f"Set aside: {', '.join(named)} {holds} {share:.0%} of all weight; not coloured."


def _cells_download(
    stack: AttentionStack, head: Head, seen: Window, *, key: str, filename: str
) -> None:
    st.download_button(
        "Cells as CSV",
        lambda: (
            weights_table(
                stack.weights(
                    head.layer,
                    head.head,
                    slice(seen.query_start, seen.query_stop),
                    slice(seen.key_start, seen.key_stop),
                ),
                stack.query_tokens,
                stack.key_tokens,
                seen,
            )
            .to_csv()
            .encode("utf-8-sig")
        ),
        file_name=f"{filename}-queries{seen.query_start}-keys{seen.key_start}.csv",
        mime="text/csv",
        key=key,
        icon=":material/download:",
        on_click="ignore",
        type="tertiary",
        disabled=not seen.exact,
        help="The exact weights of the part on the screen."
        if seen.exact
        else "Zoom in to 256 tokens or fewer: then the cells on the screen can be saved.",
    )


def _name(head: Head) -> str:
    return f"attnviz-{head.kind}-L{head.layer}H{head.head}"


def _alt(stack: AttentionStack, head: Head) -> str:
    return f"{head.label} {words.headline(stack, head.layer, head.head)}"
