"""Choice of what rows and columns of a map stand for: tokens, or whole words."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from attnviz.attention.stack.map_axes import MapAxes
from attnviz.captures.word_weights import word_axes
from attnviz.models import single_words
from attnviz.types import Kind, Words
from attnviz.ui.components.choices import choice
from attnviz.ui.session import state
from attnviz.ui.session.model_cache import Request, captured, load_model

__all__ = ["Units", "axes_of", "choose_units", "words_note"]

Units = Literal["tokens", "words"]

LABELS: dict[Units, str] = {"tokens": "Tokens", "words": "Words"}


def choose_units() -> Units:
    """Show the choice, which all pages share and links carry, and return it."""
    return choice(
        "Rows and columns",
        LABELS,
        state.UNITS,
        link=True,
        show_label=False,
        explanation="Words merges the pieces of a word: the weight on a word is the sum over its "
        "tokens, the weight from a word the mean. Numbers of heads stay per token.",
    )


def axes_of(request: Request, kind: Kind, units: Units) -> MapAxes:
    """Return the rows and columns of the maps of one kind."""
    stack = captured(request)[kind]
    if units == "words":
        return MapAxes(stack, *_words(request, kind))
    return MapAxes(stack, single_words(stack.query_tokens), single_words(stack.key_tokens))


def words_note(axes: MapAxes) -> None:
    """Show what a cell of a map of words is."""
    if axes.merged:
        st.caption(
            "Words: the sum over the tokens of a key, the mean over those of a query. Scores are "
            "not defined for words."
        )


@st.cache_resource(max_entries=32, show_spinner=False)
def _words(request: Request, kind: Kind) -> tuple[Words, Words]:
    """Return the words of the rows and of the columns; cached."""
    axes = word_axes(captured(request), kind, model=load_model(request.model))
    return axes.queries, axes.keys
