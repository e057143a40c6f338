"""Page with a map to zoom into, for the browser tests; `?tokens=` sets the length of its text."""

import numpy as np
import streamlit as st

from attnviz.attention.stack.map_tiles import grid
from attnviz.types import Head
from attnviz.ui.components.plotly_map import plotly_map
from attnviz.views.maps.map_specification import weight_specification
from tests.views.long_stack import long_stack

stack = long_stack(int(st.query_params.get("tokens", 600)))
head = Head("self", 0, st.segmented_control("head", [0, 1], default=0, required=True))
scale = st.segmented_control(
    "scale", ["linear", "log", "hide_sinks"], default="linear", required=True
)
how = st.segmented_control("how", ["max", "mean"], default="max", required=True)
sent = st.session_state.setdefault("sent", [])
aside = (3,) if scale == "hide_sinks" else ()


def cut(window):
    sent.append(window.numbers())
    return grid(stack, head, window, how=how, aside=np.array(aside, dtype=int))


chosen = st.session_state.get("selected")
events = plotly_map(
    weight_specification(
        value="weight" if how == "max" else "mean weight",
        high=float(stack.weights(0, head.head).max()) if how == "max" else None,
        logarithmic=scale == "log",
    ),
    stack.query_tokens.labels,
    stack.key_tokens.labels,
    cut,
    depends_on=("test", head),
    how=how,
    aside=aside,
    selected=None if chosen is None else (chosen, None),
    on_cell=lambda row, column: st.session_state.update(selected=row),
    filename="map",
    alt=f"head {head.head}",
    key="map",
)
if st.button("choose row 500"):
    st.session_state["selected"] = 500
    st.rerun()
st.text(f"seen: {events.window.numbers()}")
st.text(f"grids: {len(sent)}")
st.text(f"scale shown: {scale}")
st.text(f"selected: {st.session_state.get('selected')}, clicked: {events.clicked}")
