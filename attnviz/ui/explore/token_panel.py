"""Text below the map as tokens: one is chosen, and the page says where it looks."""

from __future__ import annotations

import numpy as np
import streamlit as st
from jaxtyping import Bool, Float

from attnviz import words
from attnviz.attention import AttentionStack
from attnviz.captures.forward_pass import Capture
from attnviz.types import Head, Prediction, Tokens
from attnviz.ui.components.token_strip import TOKEN_LIMIT, fits, part, token_strip
from attnviz.ui.session import state
from attnviz.ui.session.plain_text import Strong, show_plain

__all__ = ["around", "show_tokens"]

CHIPS = 256  # tokens shown of a text that is too long to be shown whole


def show_tokens(capture: Capture, head: Head) -> None:
    """Show the text as tokens: click one to see where it looks and who looks at it."""
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
            + ": the strip shows the surroundings of the chosen token. What is said below is about "
            "the whole text."
        )
    inside = remembered is not None and rows.start <= remembered < rows.stop
    token = token_strip(
        part(stack.query_tokens, rows),
        part(stack.key_tokens, columns),
        np.where(visible, stack.weights(head.layer, head.head, rows, columns), np.nan),
        selected=remembered - rows.start if inside and remembered is not None else None,
        first=(rows.start, columns.start),
        whole=whole,
        key="token_strip",
    )
    token = None if token is None else token + rows.start
    if token != remembered and (inside or token is not None):
        st.session_state["token"] = token
        st.rerun(scope="fragment")
    if remembered is None:
        return
    _token_in_words(stack, head, remembered, places=not whole)
    position_side = capture.kinds[0] if len(capture.kinds) == 1 else "decoder"
    if capture.predictions and head.kind in (position_side, "cross"):
        _prediction(capture, remembered)


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


def _token_in_words(stack: AttentionStack, head: Head, token: int, *, places: bool) -> None:
    label = words.quoted(stack.query_tokens.labels[token])
    one = slice(token, token + 1)
    looks = stack.weights(head.layer, head.head, queries=one)[0]
    left, right = st.columns(2)
    listed = _listed(looks, stack.key_tokens, places)
    with left:
        show_plain(Strong(f"{label} looks at"), f" {listed}")
    if stack.same_text:
        seen: Float[np.ndarray, " query"] = stack.weights(head.layer, head.head, keys=one)[:, 0]
        listed = _listed(seen, stack.query_tokens, places)
        with right:
            show_plain(Strong(f"{label} is looked at by"), f" {listed}")


def _listed(weights: Float[np.ndarray, " position"], tokens: Tokens, places: bool) -> str:
    """Return the tokens and their weights; of a long text their positions too."""
    if not np.isfinite(weights).all():
        return "not defined (NaN)"
    found = words.looks(weights, tokens)
    if not found:
        return "nothing"
    return ", ".join(
        words.quoted(one.label)
        + (f" at {one.position:,}" if places else "")
        + f" ({one.weight:.2f})"
        for one in found
    )


def _prediction(capture: Capture, token: int) -> None:
    expected: Prediction = capture.predictions[token]
    if not expected.labels:
        st.caption("What the model expects here is not defined: its logits are NaN or infinite.")
        return
    what = "this token" if capture.model.family == "encoder" else "the next token"
    chances = ", ".join(
        f"{words.quoted(label)} {chance:.0%}"
        for label, chance in zip(expected.labels, expected.probabilities, strict=True)
    )
    loss = float(capture.losses[token])
    cost = "" if np.isnan(loss) else f" What came cost {loss:.2f} nats."
    show_plain(f"For {what} the model expects: {chances}.{cost}", small=True)
