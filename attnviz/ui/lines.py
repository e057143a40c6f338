"""The Lines page: BertViz's drawings, fed with attnviz's exact weights, without a network."""

from __future__ import annotations

from typing import Literal

import numpy as np
import streamlit as st
from jaxtyping import Float

from attnviz.attention import AttentionStack
from attnviz.captures import Capture
from attnviz.types import KIND_LABELS
from attnviz.ui.heads import choose_kind, head_menus
from attnviz.ui.theme import current_theme
from attnviz.views.bertviz import BertvizPart, bertviz_html

__all__ = ["lines"]

VIEWS: dict[Literal["head", "model"], str] = {
    "head": "One layer, as lines",
    "model": "All heads, small",
}
HEIGHT_PER_TOKEN, HEIGHT_PER_LAYER, HEIGHT_AROUND = 24, 130, 140


@st.fragment
def lines(capture: Capture) -> None:
    """One layer's heads as lines between words, or every head as a small picture."""
    kind = choose_kind(capture)
    view = st.segmented_control(
        "View",
        list(VIEWS),
        default="head",
        format_func=VIEWS.__getitem__,
        key="lines",
        required=True,
        persist_state="session",
        label_visibility="collapsed",
    )
    stack = capture[kind]
    head = head_menus(capture, kind)
    part = BertvizPart(KIND_LABELS[kind], _all_weights(stack), stack.query_tokens, stack.key_tokens)
    page = bertviz_html(
        [part], view=view, layer=head.layer, heads=[head.head], theme=current_theme()
    )
    tokens = max(stack.shape[2:])
    height = HEIGHT_PER_TOKEN * tokens if view == "head" else HEIGHT_PER_LAYER * stack.shape[0]
    st.iframe(page, height=height + HEIGHT_AROUND)
    st.caption(
        "Drawn by BertViz (Vig 2019). Double-click a coloured square to see one head alone; point "
        "at a word to see its lines; in the small pictures, click one to enlarge it."
    )


def _all_weights(stack: AttentionStack) -> Float[np.ndarray, "layer head query key"]:
    layers, heads, _, _ = stack.shape
    return np.stack(
        [np.stack([stack.weights(layer, head) for head in range(heads)]) for layer in range(layers)]
    )
