"""Text as tokens, of which one is chosen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import streamlit as st
from jaxtyping import Bool

from attnviz.attention import AttentionStack
from attnviz.captures.forward_pass import Capture
from attnviz.types import Head
from attnviz.ui.components.plotly_map import labels_digest
from attnviz.ui.components.token_strip import TOKEN_LIMIT, fits, part, token_strip
from attnviz.ui.session import state

__all__ = ["TokenChoice", "around", "choose_from_strip"]


class TokenChoice(NamedTuple):
    """Position of the chosen token, if there is one, and whether the strip shows the whole text."""

    position: int | None
    whole: bool


CHIPS = 256  # tokens shown of a text that is too long to be shown whole


def choose_from_strip(capture: Capture, head: Head) -> TokenChoice:
    """Show the text as tokens, and return the one that is chosen by a click or was before."""
    stack = capture[head.kind]
    _, _, queries, keys = stack.shape
    remembered = state.token(queries)
    rows, columns = slice(0, queries), slice(0, keys)
    visible = _visible(stack, head, rows, columns) if max(queries, keys) <= TOKEN_LIMIT else None
    whole = visible is not None and fits(visible)
    if visible is None or not whole:
        remembered = _choose_position(queries, remembered)
        rows, columns = _window(stack, head, remembered)
        visible = _visible(stack, head, rows, columns)
        st.caption(
            f"Tokens {rows.start:,} to {rows.stop - 1:,} of {queries:,}"
            + ("" if rows == columns else f", and keys {columns.start:,} to {columns.stop - 1:,}")
            + ": the strip shows the surroundings of the chosen token. The sentences at the left "
            "are about the whole text."
        )
    inside = remembered is not None and rows.start <= remembered < rows.stop
    token = token_strip(
        part(stack.query_tokens, rows),
        part(stack.key_tokens, columns),
        np.where(visible, stack.weights(head.layer, head.head, rows, columns), np.nan),
        selected=remembered - rows.start if inside and remembered is not None else None,
        first=(rows.start, columns.start),
        whole=whole,
        text=labels_digest(stack.query_tokens.labels, stack.key_tokens.labels),
        key="token_strip",
    )
    token = None if token is None else token + rows.start
    if token != remembered and (inside or token is not None):
        st.session_state["token"] = token
        st.rerun(scope="fragment")
    return TokenChoice(remembered, whole)


def around(place: int, count: int, size: int) -> slice:
    """Return a stretch of `size` tokens with `place` well inside it.

    A change of `place` by one seldom moves the stretch.
    """
    half = max(size // 2, 1)
    start = min(max(place // half * half - half // 2, 0), max(count - size, 0))
    return slice(start, min(start + size, count))


def _choose_position(count: int, remembered: int | None) -> int | None:
    """Return a field for the position: a text of thousands of tokens cannot be clicked through."""
    key = "token_position"
    st.session_state[key] = remembered
    chosen: int | None = st.number_input(
        f"Token at position (0 to {count - 1:,})",
        0,
        count - 1,
        key=key,
        step=1,
        value=None,
        width=260,
        placeholder="choose a token",
        on_change=_take_position,
    )
    return chosen


def _take_position() -> None:
    st.session_state["token"] = st.session_state["token_position"]


def _visible(
    stack: AttentionStack, head: Head, rows: slice, columns: slice
) -> Bool[np.ndarray, "query key"]:
    """Return which of these queries sees which of these keys."""
    rule = stack.layers[head.layer].visibility
    seen: Bool[np.ndarray, "query key"] = (
        rule.table(rows.start, rows.stop, columns.start, columns.stop)[0].cpu().numpy()
    )
    return seen


def _window(stack: AttentionStack, head: Head, token: int | None) -> tuple[slice, slice]:
    """Return which queries and keys the strip shows.

    These are the tokens around the chosen one, and those it looks at.
    """
    _, _, queries, keys = stack.shape
    rows = around(token or 0, queries, CHIPS)
    if stack.same_text:
        return rows, rows
    best = 0
    if token is not None:
        best = int(stack.weights(head.layer, head.head, slice(token, token + 1)).argmax())
    return rows, around(best, keys, CHIPS)
