"""Text of a set in the side bar, with a head and a token chosen: what a result opens in Explore."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st

from attnviz.experiments.encoded_texts import translates
from attnviz.types import Family, Head
from attnviz.ui.session import state
from attnviz.ui.session.example_texts import Example
from attnviz.ui.session.model_cache import Request, load_model

__all__ = ["open_next", "show_in_explore", "show_opened", "text_request"]

OPENED = "opened_text"
"""Key of the session with what the next run of the app opens."""


class _Opened(NamedTuple):
    """Text, head and token to be opened."""

    family: Family
    request: Request
    head: Head
    token: int


def text_request(model_name: str, source: str, target: str | None) -> Request:
    """Return the request for one text of a set, as `encoded_texts` reads it."""
    model = load_model(model_name)
    both = model.info.family == "encoder-decoder"
    prompt = (translates(model) or "") if both and not model.prompt else ""
    return Request(model_name, prompt + source, target=(target or "") if both else "")


def show_in_explore(family: str, request: Request, head: Head) -> None:
    """Put the text into the side bar and choose the head (from a callback of a whole run).

    The text is kept in the session; the address does not have it.
    """
    state.fill(state.text_keys(family), Example("", request.text, "", request.target))
    state.choose_head(head)


def open_next(family: Family, request: Request, head: Head, token: int) -> None:
    """Open a text at a head and a token, from a fragment: run the whole app again.

    The fields of the side bar are no part of a fragment's run: what is set there would be replaced
    by what the browser sends for the whole run. `show_opened` sets it in that run.
    """
    st.session_state[OPENED] = _Opened(family, request, head, token)
    st.rerun(scope="app")


def show_opened() -> None:
    """Set text, head, token and view to what `open_next` was given; before they are drawn."""
    opened: _Opened | None = st.session_state.pop(OPENED, None)
    if opened is None:
        return
    show_in_explore(opened.family, opened.request, opened.head)
    state.choose_token(opened.token)
    st.session_state[state.BEGIN] = opened.request.begin
    st.session_state[state.VIEW] = "Weights"
