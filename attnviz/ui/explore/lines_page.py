"""Lines page: BertViz's drawings, fed with attnviz's exact weights, without a network."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import numpy as np
import streamlit as st
from jaxtyping import Float

from attnviz.attention.stack.map_axes import MapAxes
from attnviz.types import KIND_LABELS, Head
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.choices import choice
from attnviz.ui.components.figures_and_tables import file_download
from attnviz.ui.components.token_strip import part as stretch
from attnviz.ui.explore.head_picker import choose_kind, head_menus
from attnviz.ui.explore.unit_choice import axes_of, choose_units
from attnviz.ui.server.run_places import in_turn
from attnviz.ui.session import state
from attnviz.ui.session.error_messages import explained
from attnviz.ui.session.model_cache import Request, captured
from attnviz.views.lines.bertviz_code import View
from attnviz.views.lines.bertviz_page import NUMBER_LIMIT, BertvizPart, bertviz_html

__all__ = ["lines"]

VIEWS: dict[View, str] = {
    "head": "One layer, as lines",
    "model": "All heads, small",
}
HEIGHT = 600
"""Height in pixels of the frame before the drawing sets it to its height."""

CAPTIONS = {
    "head": "Point at a word to see its lines alone. Click H0, H1, … to add or remove a head; "
    "double-click one to see it alone.",
    "model": "Each small picture is a head, each row a layer. Click one to enlarge it.",
}


@st.fragment
@in_turn
@explained()
def lines(request: Request) -> None:
    """Show one layer's heads as lines between words, or every head as a small picture."""
    capture = captured(request)
    kind = choose_kind(capture.kinds)
    with st.container(horizontal=True, vertical_alignment="center"):
        view = choice("View", VIEWS, "lines", show_label=False)
        head = head_menus(capture, kind, in_line=True)
        units = choose_units()
    axes = axes_of(request, kind, units)
    rows, columns = _stretches(axes)
    part = BertvizPart(
        KIND_LABELS[kind],
        _weights(axes, rows, columns),
        stretch(axes.queries.tokens, rows),
        stretch(axes.keys.tokens, columns),
    )
    name = f"attnviz-lines-{view}-{kind}-L{head.layer}H{head.head}"
    if axes.merged:
        name += "-words"
    page = partial(
        bertviz_html,
        [part],
        view=view,
        layer=head.layer,
        heads=[head.head],
        theme=current_theme(),
        filename=name,
    )
    with st.container(key="lines_frame"):
        st.iframe(
            page(only_layer=view == "head", font_address=_font_address()),
            height=HEIGHT,
            alt=f"Weights of {head.label} as lines",
        )
    file_download(
        "Page as HTML",
        lambda: page().encode(),  # with a menu of all layers
        key="lines:html",
        filename=f"{name}.html",
        mime="text/html",
        explanation="The drawing with every layer, as a page that opens without the internet.",
    )
    st.caption(f"{CAPTIONS[view]} Drawn by BertViz (Vig 2019).")


@cache
def _font_address() -> str | None:
    """Return where Streamlit serves the font of the app's pages; None if it has no such file."""
    folder = Path(st.__file__).parent / "static"
    files = sorted(folder.glob("static/media/SourceSansVF-Upright*.woff2"))
    return f"/{files[0].relative_to(folder).as_posix()}" if files else None


def _stretches(axes: MapAxes) -> tuple[slice, slice]:
    """Return which queries and keys are drawn.

    These are all, or as many neighbours as BertViz stays quick with.
    """
    layers, heads, tokens, _ = axes.stack.shape
    queries, keys = axes.shape
    if layers * heads * queries * keys <= NUMBER_LIMIT:
        return slice(0, queries), slice(0, keys)
    size = max(int((NUMBER_LIMIT // (layers * heads)) ** 0.5), 1)
    size = max(size, NUMBER_LIMIT // (layers * heads * max(min(queries, keys), 1)))
    last = max(queries, keys) - size
    first = axes.queries.index_of(state.token(tokens) or 0) - size // 2
    start = st.number_input(
        f"From {axes.unit}",
        0,
        max(last, 0),
        min(max(first, 0), max(last, 0)),
        step=max(size // 2, 1),
        key="lines_from",
        persist_state="session",
        width=260,
    )
    rows, columns = (
        slice(min(start, max(count - size, 0)), min(start + size, count))
        for count in (queries, keys)
    )
    st.info(
        f"BertViz draws every weight of every head as a separate line and stays quick up to "
        f"{NUMBER_LIMIT:,} of them: for this model {size} {axes.unit}s at a time. "
        f"Here are {axes.unit}s {rows.start:,} to {rows.stop - 1:,} of {queries:,}; looks at "
        "others are not drawn. Explore shows the whole text.",
        icon=":material/info:",
    )
    return rows, columns


def _weights(
    axes: MapAxes, rows: slice, columns: slice
) -> Float[np.ndarray, "layer head query key"]:
    layers, heads, _, _ = axes.stack.shape
    kind = axes.stack.kind
    return np.stack(
        [
            np.stack(
                [axes.weights(Head(kind, layer, head), rows, columns) for head in range(heads)]
            )
            for layer in range(layers)
        ]
    )
