"""Induction page: does the model notice that a text repeats itself, and which heads do it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from attnviz import metrics
from attnviz.attention.stack.map_tiles import grid
from attnviz.experiments.repetition import Repetition
from attnviz.types import Head
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.choices import choice
from attnviz.ui.components.figures_and_tables import show_picture, show_table
from attnviz.ui.components.plotly_map import plotly_map
from attnviz.ui.explore.head_picker import head_map, head_menus
from attnviz.ui.server.run_places import in_turn
from attnviz.ui.session.error_messages import explained
from attnviz.ui.session.model_cache import Request, load_model, repeated
from attnviz.ui.session.plain_text import plain
from attnviz.views import draw_loss, draw_scores_by_head
from attnviz.views.maps.map_specification import repetition_diagonals, weight_specification
from attnviz.written_numbers import decimals, nats

__all__ = ["induction", "repeats_text"]

RANDOM, OWN = "Random tokens", "The text in the side bar"


def repeats_text() -> bool:
    """Return whether the page repeats the text of the side bar, which is shown only then."""
    return bool(st.session_state.get("repeat") == OWN)


def induction(request: Request) -> None:
    """Show the experiment's settings, then its results."""
    model = load_model(request.model)
    if model.info.family != "decoder":
        st.info(
            f"{plain(request.model)} does not continue texts, so it has no induction heads. "
            "Choose a GPT model at the left.",
            icon=":material/info:",
        )
        return
    what = choice("What is repeated", [RANDOM, OWN], "repeat")
    period, sequences, seed, text = 50, 4, 0, None
    if what == OWN:
        text = request.text
    else:
        longest = ((model.info.max_tokens or 512) - 1) // 2
        left, middle, right = st.columns(3)
        period = left.slider("Tokens per copy", 4, min(longest, 200), min(50, longest))
        sequences = middle.slider("Sequences averaged", 1, 16, 4)
        seed = right.number_input("Random seed", 0, 10_000, 0, help="Another number, other tokens.")
    result = repeated(request.model, text, period, sequences, int(seed))
    _verdict(result)
    _results(result)


def _verdict(result: Repetition) -> None:
    scores = result.scores["induction"]
    if np.isnan(scores).any() or np.isnan(result.gain):
        st.error(
            "This model computes NaN or infinity on the repeated sequences: costs and scores that "
            "depend on them are not defined."
        )
    if np.isnan(scores).all():
        return
    layer, head = np.unravel_index(np.nanargmax(scores), scores.shape)
    st.markdown(
        f"The second copy costs **{nats(abs(result.gain))} nats per token "
        f"{'less' if result.gain >= 0 else 'more'}** than the first "
        f"({nats(result.second_copy[1:].mean())} instead of "
        f"{nats(result.first_copy[1:].mean())}). "
        f"The strongest induction head is **{Head('self', int(layer), int(head)).label}** with a "
        f"score of **{decimals(scores[layer, head])}**: that share of its weight is on the token "
        "that followed the same token in the first copy."
    )


@st.fragment
@in_turn
@explained()
def _results(result: Repetition) -> None:
    left, right = st.columns([5, 7], gap="medium")
    with left:
        metric = choice(
            "Score",
            list(result.scores),
            "induction_score",
            first="induction",
            label_of=lambda name: metrics.describe(name).label,
        )
        place = st.container()
        head = head_menus(result.capture, "self")
        with place:
            head_map(result.scores[metric], metric, head, key="induction_map")
    with right:
        stack = result.capture["self"]
        st.header(head.label, anchor=False)
        plotly_map(
            weight_specification(diagonals=repetition_diagonals(result.period)),
            stack.query_tokens.labels,
            stack.key_tokens.labels,
            lambda window: grid(stack, head, window),
            depends_on=(stack.query_tokens.ids, result.capture.model, head),
            selects="none",
            filename=f"attnviz-stripe-L{head.layer}H{head.head}",
            alt=f"Weights of {head.label} over both copies, with the induction diagonal marked",
            key="stripe",
        )
    left, right = st.columns(2, gap="medium")
    with left:
        figure = draw_loss(result.first_copy, result.second_copy, theme=current_theme())
        show_picture(
            figure,
            key="loss",
            filename="attnviz-loss-by-copy",
            alt="Loss per token in the first and in the second copy",
        )
    with right:
        named = {metrics.describe(name).label: table for name, table in result.scores.items()}
        figure = draw_scores_by_head(named, theme=current_theme())
        show_picture(
            figure,
            key="scores",
            filename="attnviz-repetition-scores",
            alt="The heads with the highest induction scores",
        )
    with st.expander("All heads as a table"):
        show_table(
            _table(result),
            key="repetition",
            filename="attnviz-repetition",
            labels={name: metrics.describe(name).label for name in result.scores},
        )


def _table(result: Repetition) -> pd.DataFrame:
    layers, heads = result.scores["induction"].shape
    index = pd.MultiIndex.from_product([range(layers), range(heads)], names=["layer", "head"])
    columns = {name: table.ravel() for name, table in result.scores.items()}
    return pd.DataFrame(columns, index=index).reset_index()
