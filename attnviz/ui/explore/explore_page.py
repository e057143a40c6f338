"""Explore page: head and text on top, all heads and the token's answer left, the map right."""

from __future__ import annotations

import numpy as np
import streamlit as st

from attnviz import metrics
from attnviz.attention.stack.small_patterns import PICTURED_TOKENS
from attnviz.captures.forward_pass import Capture
from attnviz.ui.components.choices import choice
from attnviz.ui.explore import head_panel
from attnviz.ui.explore.answer_panel import show_answer
from attnviz.ui.explore.head_picker import choose_metric, head_map
from attnviz.ui.explore.title_line import title_line
from attnviz.ui.explore.token_panel import choose_from_strip
from attnviz.ui.explore.unit_choice import axes_of
from attnviz.ui.server.run_places import in_turn
from attnviz.ui.session import state
from attnviz.ui.session.error_messages import explained, show_reason
from attnviz.ui.session.model_cache import (
    Request,
    captured,
    head_numbers,
    head_pictures,
    most_characters,
)
from attnviz.ui.session.plain_text import Strong, show_plain

__all__ = ["explore", "notices", "read"]


def read(request: Request) -> None:
    """Read the text, and say what must be known about it.

    In a separate container: what follows stays in its place, with or without a bar or a notice
    before it. Streamlit would draw it anew, and show the old one beside it until the end.
    """
    with st.container(key="notices"):
        capture = captured(request)
        notices(capture, request)
    st.sidebar.caption(_token_count(capture))


def notices(capture: Capture, request: Request) -> None:
    """Show what was left out of the text, and the target."""
    if left_out := _left_out(capture, request):
        st.warning(left_out, icon=":material/content_cut:")
    for note in capture.notes:
        show_reason(note)
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
    head, units = title_line(capture, request)
    axes = axes_of(request, head.kind, units)
    token = choose_from_strip(axes, head)
    with st.container(key="heads_and_map"):
        left, right = st.columns([5, 7], gap="medium")
    with left:
        numbers = head_numbers(request, head.kind)
        metric, pictures = _choose_colours(list(numbers), capture)
        place = st.container()
    with right:  # drawn before the map of heads: it is what a click is for
        head_panel.show_head(capture, request, head, metric, units)
    with place:
        nothing = np.full(capture[head.kind].shape[:2], np.nan, np.float32)
        head_map(
            numbers.get(metric, nothing),
            metric,
            head,
            key="head_map",
            pictures=head_pictures(request, head.kind) if pictures else None,
        )
    with left:
        show_answer(capture, request, head, token, axes)


def _choose_colours(known: list[str], capture: Capture) -> tuple[str, bool]:
    """Show what the map of heads can show; return the metric, and whether it shows patterns."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = choose_metric(_offered(known), capture.model.family)
        longest = max(max(capture[kind].shape[2:]) for kind in capture.kinds)
        shown = "numbers"
        if longest <= PICTURED_TOKENS:
            shown = choice(
                "In the cells",
                {"numbers": "Numbers", "pictures": "Pictures"},
                "cells",
                show_label=False,
                explanation="The metric of each head, or its weights on this text, made small.",
            )
    if metric not in known:
        st.caption(f":material/info: {_why_without(metric)}")
    return metric, shown == "pictures"


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
