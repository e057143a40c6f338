"""Page with two strips and a figure, for the browser tests."""

import streamlit as st

from attnviz.types import Tokens
from attnviz.ui.components.picture_buttons import picture_buttons
from attnviz.ui.components.token_strip import token_strip
from attnviz.views import draw_weights, plot_config
from tests.views.samples import HOSTILE, make_attention, make_tokens

THEME = "dark" if st.context.theme.type == "dark" else "light"

tokens = make_tokens(14)
weights, scores = make_attention(14)
weights[scores == -float("inf")] = float("nan")
before = st.session_state.get("token")
chosen = token_strip(tokens, tokens, weights, selected=before, key="strip")
if st.button("choose five"):
    chosen = 5
if chosen != before:
    st.session_state["token"] = chosen
    st.rerun()
st.text(f"chosen: {chosen}")

sources: Tokens = make_tokens(len(HOSTILE), HOSTILE)
across, _ = make_attention(3, len(HOSTILE), causal=False)
target = token_strip(
    make_tokens(3, ("un", "deux", "trois")),
    sources,
    across,
    selected=st.session_state.get("target"),
    key="cross",
    query_title="target",
    key_title="source",
)
st.session_state["target"] = target
st.text(f"target: {target}")

figure = draw_weights(weights, tokens, tokens, scores=scores, theme=THEME, title="L0·H1")
st.plotly_chart(
    figure, key="weights:map", theme=None, width=int(figure.layout.width), config=plot_config("m")
)
picture_buttons("weights:map", "L0·H1 weights", theme=THEME)
