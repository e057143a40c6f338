"""Compare page: two heads side by side, and what separates them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st
from jaxtyping import Float

from attnviz import metrics
from attnviz.attention.stack.map_axes import MapAxes
from attnviz.attention.stack.map_tiles import Grid
from attnviz.captures.forward_pass import Capture
from attnviz.types import Head, Kind
from attnviz.ui.components.choices import choice
from attnviz.ui.components.plotly_map import plotly_map
from attnviz.ui.explore.explore_page import notices
from attnviz.ui.explore.head_picker import choose_kind, head_menus
from attnviz.ui.explore.row_panel import show_rows
from attnviz.ui.explore.title_line import head_title
from attnviz.ui.explore.unit_choice import axes_of, choose_units
from attnviz.ui.explore.weight_panel import choose_scale, show_map
from attnviz.ui.server.permissions import listed_models, takes_any_model
from attnviz.ui.session import state
from attnviz.ui.session.model_cache import Request, captured, default_request, load_model
from attnviz.ui.session.plain_text import show_plain
from attnviz.views.maps.map_specification import difference_specification
from attnviz.views.style.plotly_numbers import known_mean
from attnviz.written_numbers import nats

__all__ = ["compare"]

HERE, PINNED, OTHER = "The text in the side bar", "The pinned head", "Another text or model"
DIFFERENCE_TOKENS = 256  # along a side of a difference that is drawn cell by cell
ROWS = 128  # queries whose weights exist at a time


def compare(request: Request) -> None:
    """Show both sides, then their difference where they can be compared cell by cell.

    The cells of one row begin at the same height; `app.css` puts the difference beside the maps
    on a wide screen, below them on others.
    """
    with st.container(key="compare_cells"):
        header_a, header_b, headline, switch, map_a, map_b, difference, rows = st.columns(
            8, gap="medium"
        )
    with header_a:
        request_a, head_a = _side("a", request, HERE)
    with header_b:
        request_b, head_b = _side("b", request, PINNED if state.pinned() else HERE)
    with switch, st.container(horizontal=True):
        scale = choose_scale("compare_scale")
        units = choose_units()
    with map_a:
        show_map(request_a, head_a, prefix="a_", scale=scale, units=units)
    with map_b:
        show_map(request_b, head_b, prefix="b_", scale=scale, units=units)
    axes_a, axes_b = (
        axes_of(one, head.kind, units) for one, head in ((request_a, head_a), (request_b, head_b))
    )
    if reason := _why_not(axes_a, axes_b):
        headline.info(f"No cell by cell difference: {reason}", icon=":material/info:")
        return
    divergence = _divergence(axes_a, head_a, axes_b, head_b)
    with headline:
        _headline(axes_a, head_a, axes_b, head_b, divergence)
    with difference, st.container(key="compare_difference"):
        _difference_map(axes_a, head_a, axes_b, head_b)
    with rows:
        show_rows(
            divergence,
            axes_a.queries.tokens,
            words=axes_a.queries,
            label="Jensen-Shannon divergence",
            unit="nats",
            limits=(0.0, float(np.log(2))),
            key="divergence",
            filename="attnviz-divergence",
            alt="Jensen-Shannon divergence",
        )


def _headline(
    axes_a: MapAxes,
    head_a: Head,
    axes_b: MapAxes,
    head_b: Head,
    divergence: Float[np.ndarray, " query"],
) -> None:
    """Show how far apart the rows of the two heads are on average."""
    st.header(f"B minus A: {head_b.label} − {head_a.label}", anchor=False)
    broken = [
        head.label
        for axes, head in ((axes_a, head_a), (axes_b, head_b))
        if axes.stack.not_finite[head.layer, head.head]
    ]
    if broken:
        st.error(
            f"{' and '.join(dict.fromkeys(broken))} computes NaN or infinity on this text: a "
            "difference is not defined."
        )
        return
    mean = float(known_mean(divergence))
    st.markdown(
        f"Mean Jensen-Shannon divergence of their rows: **{nats(mean)} nats**, "
        f"on a scale from 0 (same rows) to {nats(np.log(2))} (ln 2, no shared key)."
    )


def _difference_map(axes_a: MapAxes, head_a: Head, axes_b: MapAxes, head_b: Head) -> None:
    if max(axes_a.shape) > DIFFERENCE_TOKENS:
        st.info(
            f"The difference is drawn cell by cell, for texts of up to {DIFFERENCE_TOKENS} "
            f"{axes_a.unit}s; this one has {max(axes_a.shape):,}. The divergence of every row is "
            "exact.",
            icon=":material/info:",
        )
        return
    values = _difference(axes_a, head_a, axes_b, head_b)
    sizes = np.abs(values[np.isfinite(values)])
    end = float(sizes.max(initial=0.0)) or 1.0
    plotly_map(
        difference_specification(f"A {head_a.label}", f"B {head_b.label}", end),
        axes_a.queries.tokens.labels,
        axes_a.keys.tokens.labels,
        lambda window: Grid(window, 1, 1, values[window.slices]),
        depends_on=(values.tobytes(),),
        selects="none",
        filename="attnviz-difference" + ("-words" if axes_a.merged else ""),
        alt=f"{head_b.label} minus {head_a.label}, cell by cell",
        key="difference",
    )


def _side(letter: str, request: Request, first: str) -> tuple[Request, Head]:
    """Show the header of one side: source of the text, and head; return what its map shows."""
    sources = [HERE, OTHER] if state.pinned() is None else [HERE, PINNED, OTHER]
    key = f"{letter}_source"
    if st.session_state.get(key) not in sources:
        st.session_state[key] = first
    source = choice(f"{letter.upper()} shows", sources, key, shape="menu")
    start: Head | None = None
    pinned = state.pinned()
    if source == PINNED and pinned is not None:
        request, start = pinned
    elif source == OTHER:
        request = _other_request(letter, request)
    with st.container():  # see `read`
        capture = captured(request)
        if source != HERE:
            show_plain(f"{request.model}: “{_short(request.text)}”", small=True)
            notices(capture, request)
    head = _head(letter, capture, start)
    head_title(capture, head)
    return request, head


def _other_request(letter: str, request: Request) -> Request:
    names = listed_models()
    if request.model not in names:
        names.append(request.model)
    model = choice(
        "Model",
        names,
        f"{letter}_model",
        first=request.model,
        shape="menu",
        new_names=takes_any_model(),
        keep=False,
    )
    start = default_request(model)
    text = st.text_input("Text", value=start.text, key=f"{letter}_text:{model}")
    pair = ""
    if load_model(model).info.family == "encoder":
        pair = st.text_input("Second sentence", value=start.pair, key=f"{letter}_pair:{model}")
    return replace(start, text=text, pair=pair)


def _head(letter: str, capture: Capture, start: Head | None) -> Head:
    """Show the menus of one side, and return its head.

    Kind, layer and head are in the link, like those of Explore.
    """
    kind = choose_kind(capture.kinds, key=f"{letter}_kind")
    first = start if start is not None and start.kind == kind else None
    return head_menus(
        capture, kind, first or _first_head(letter, capture, kind), prefix=f"{letter}_"
    )


def _first_head(letter: str, capture: Capture, kind: Kind) -> Head:
    """Return the head to begin with: A is the head that is open in Explore, B another one.

    Other heads come in the order in which the model's card names them, then as they are counted.
    """
    known = [one.head for one in capture.model.known_heads if one.head.kind == kind]
    heads = [*known, Head(kind, 0, 0), Head(kind, 0, min(1, capture[kind].shape[1] - 1))]
    opened = state.open_head(kind, capture[kind].shape[:2])
    first = opened or heads[0]
    if letter == "a":
        return first
    return next((one for one in heads if one != first), first)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"


def _why_not(first: MapAxes, second: MapAxes) -> str:
    """Return why two maps cannot be subtracted; empty when they can."""
    if first.shape != second.shape:
        sizes = [f"{axes.shape[0]} × {axes.shape[1]}" for axes in (first, second)]
        return (
            f"A is a map of {sizes[0]} {first.unit}s and B of {sizes[1]}. Choose texts of equal "
            "length."
        )
    if first.queries.tokens.labels != second.queries.tokens.labels:
        return "the two maps stand for different tokens. Choose the same text on both sides."
    if first.keys.tokens.labels != second.keys.tokens.labels:
        return "the two maps look at different tokens. Choose the same text on both sides."
    return ""


def _divergence(
    axes_a: MapAxes, head_a: Head, axes_b: MapAxes, head_b: Head
) -> Float[np.ndarray, " query"]:
    """Return how far apart the two rows of every query are, some rows at a time."""
    queries = axes_a.shape[0]
    parts = []
    for start in range(0, queries, ROWS):
        rows = slice(start, min(start + ROWS, queries))
        parts.append(
            metrics.jensen_shannon(
                axes_a.weights(head_a, rows),
                axes_b.weights(head_b, rows),
            )
        )
    return np.concatenate(parts)


def _difference(
    axes_a: MapAxes, head_a: Head, axes_b: MapAxes, head_b: Head
) -> Float[np.ndarray, "query key"]:
    """Return B - A, NaN where both are masked."""
    difference: np.ndarray = axes_b.weights(head_b) - axes_a.weights(head_a)
    visible = axes_a.visible(head_a.layer) | axes_b.visible(head_b.layer)
    difference[~visible] = np.nan
    return difference
