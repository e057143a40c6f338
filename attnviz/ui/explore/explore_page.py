"""Explore page: all heads on the left, the chosen one on the right, the text below."""

from __future__ import annotations

import numpy as np
import streamlit as st

from attnviz import metrics
from attnviz.captures.forward_pass import Capture
from attnviz.ui.explore import head_panel
from attnviz.ui.explore.head_picker import choose_kind, choose_metric, head_map, head_menus
from attnviz.ui.explore.token_panel import show_tokens
from attnviz.ui.server.run_places import in_turn
from attnviz.ui.session import state
from attnviz.ui.session.error_messages import explained
from attnviz.ui.session.model_cache import Request, captured, head_numbers, most_characters
from attnviz.ui.session.plain_text import Strong, plain, show_plain

__all__ = ["explore", "notices", "read"]


def read(request: Request) -> None:
    """Read the text, and say what must be known about it.

    In a separate container: what follows stays in its place, with or without a bar or a notice
    before it. Streamlit would draw it anew, and show the old one beside it until the end.
    """
    with st.container():
        capture = captured(request)
        notices(capture, request)
    st.sidebar.caption(_token_count(capture))


def notices(capture: Capture, request: Request) -> None:
    """Show what was left out of the text, and the target."""
    if left_out := _left_out(capture, request):
        st.warning(left_out, icon=":material/content_cut:")
    for note in capture.notes:
        st.info(f"{plain(note[:1].upper() + note[1:])}.", icon=":material/info:")
    if capture.target_text is not None:
        who = "wrote" if capture.generated else "was given"
        show_plain(f"The model {who}: ", Strong(capture.target_text))


def _token_count(capture: Capture) -> str:
    """Return the number of tokens that the model reads, with its limit if it has one."""
    count = len(capture[capture.kinds[0]].key_tokens)
    limit = capture.model.max_tokens
    return f"{count:,} of {limit:,} tokens" if limit else f"{count:,} tokens"


def _left_out(capture: Capture, request: Request) -> str:
    """Return the sentence about what was cut off; empty where nothing was."""
    if request.left_out:
        cut = f", and of these the last {capture.cut:,} tokens were left out" if capture.cut else ""
        return (
            f"The text was too long: up to {most_characters():,} characters are read, its last "
            f"{request.left_out:,} were left out{cut}."
        )
    if capture.cut:
        return f"The text was too long: its last {capture.cut:,} tokens were left out."
    return ""


@st.fragment
@in_turn
@explained()
def explore(request: Request) -> None:
    """Show the page below its title; a click runs only this part again.

    It is given the request and not the capture: an open page would keep what it is given in memory.
    """
    capture = captured(request)
    left, right = st.columns([5, 7], gap="medium")
    with left:
        kind = choose_kind(capture.kinds)
        numbers = head_numbers(request, kind)
        metric = choose_metric(_offered(list(numbers)), capture.model.family)
        if metric not in numbers:
            st.caption(f":material/info: {_why_without(metric)}")
        place = st.container()
        head = head_menus(capture, kind)
    with right:
        head_panel.show_head(capture, request, head, metric)
    with place:  # drawn after the view of the head, which is what a click is for
        nothing = np.full(capture[kind].shape[:2], np.nan, np.float32)
        head_map(numbers.get(metric, nothing), metric, head, key="head_map")
    show_tokens(capture, head)


def _offered(known: list[str]) -> list[str]:
    """Return the metrics to choose from: those with numbers, and the one that was chosen before."""
    chosen = st.session_state.get(state.METRIC) or st.query_params.get(state.METRIC)
    return [*known, chosen] if chosen in metrics.names() and chosen not in known else known


def _why_without(metric: str) -> str:
    """Return a sentence on a metric without a number for this text."""
    label = metrics.describe(metric).label
    if metric in ("induction", "duplicate_token"):
        return f"{label}: nothing repeats in this text, so no head has a number."
    return f"{label} is not defined for this text and this kind of attention."
