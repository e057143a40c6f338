"""Text as tokens or words, of which one is chosen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import streamlit as st

from attnviz.attention.stack.map_axes import MapAxes
from attnviz.types import Head, Words
from attnviz.ui.components.plotly_map import labels_digest
from attnviz.ui.components.token_strip import TOKEN_LIMIT, fits, part, token_strip
from attnviz.ui.session import state

__all__ = ["TokenChoice", "around", "choose_from_strip"]


class TokenChoice(NamedTuple):
    """Position of the chosen token, if there is one, and whether the strip shows the whole text."""

    position: int | None
    whole: bool


CHIPS = 256  # tokens shown of a text that is too long to be shown whole


def choose_from_strip(axes: MapAxes, head: Head) -> TokenChoice:
    """Show the text, and return the token that is chosen by a click or was before.

    Of a word, its last token is chosen: what the model predicts there comes after the word.
    """
    queries, keys = axes.shape
    token = state.token(len(axes.stack.query_tokens))
    remembered = None if token is None else axes.queries.index_of(token)
    rows, columns = slice(0, queries), slice(0, keys)
    visible = axes.visible(head.layer, rows, columns) if max(queries, keys) <= TOKEN_LIMIT else None
    whole = visible is not None and fits(visible)
    if visible is None or not whole:
        remembered = _choose_position(axes.queries, remembered, axes.unit)
        rows, columns = _window(axes, head, remembered)
        visible = axes.visible(head.layer, rows, columns)
        st.caption(
            f"{axes.unit.capitalize()}s {rows.start:,} to {rows.stop - 1:,} of {queries:,}"
            + ("" if rows == columns else f", and keys {columns.start:,} to {columns.stop - 1:,}")
            + ": the strip shows the surroundings of the chosen one. The sentences at the left "
            "are about the whole text."
        )
    inside = remembered is not None and rows.start <= remembered < rows.stop
    row = token_strip(
        part(axes.queries.tokens, rows),
        part(axes.keys.tokens, columns),
        np.where(visible, axes.weights(head, rows, columns), np.nan),
        selected=remembered - rows.start if inside and remembered is not None else None,
        first=(rows.start, columns.start),
        whole=whole,
        text=labels_digest(axes.queries.tokens.labels, axes.keys.tokens.labels),
        unit=axes.unit,
        key="token_strip",
    )
    row = None if row is None else row + rows.start
    if row != remembered and (inside or row is not None):
        state.choose_token(None if row is None else axes.queries.last_token(row))
        st.rerun(scope="fragment")
    return TokenChoice(state.token(len(axes.stack.query_tokens)), whole)


def around(place: int, count: int, size: int) -> slice:
    """Return a stretch of `size` tokens with `place` well inside it.

    A change of `place` by one seldom moves the stretch.
    """
    half = max(size // 2, 1)
    start = min(max(place // half * half - half // 2, 0), max(count - size, 0))
    return slice(start, min(start + size, count))


def _choose_position(queries: Words, remembered: int | None, unit: str) -> int | None:
    """Show a field for the position: a text of thousands of tokens cannot be clicked through."""
    count = len(queries)
    key = "token_position"
    st.session_state[key] = remembered
    chosen: int | None = st.number_input(
        f"{unit.capitalize()} at position (0 to {count - 1:,})",
        0,
        count - 1,
        key=key,
        step=1,
        value=None,
        width=260,
        placeholder=f"choose a {unit}",
        on_change=_take_position,
        args=(queries,),
    )
    return chosen


def _take_position(queries: Words) -> None:
    row: int | None = st.session_state["token_position"]
    state.choose_token(None if row is None else queries.last_token(row))


def _window(axes: MapAxes, head: Head, row: int | None) -> tuple[slice, slice]:
    """Return which queries and keys the strip shows.

    These are the tokens around the chosen one, and those it looks at.
    """
    queries, keys = axes.shape
    rows = around(row or 0, queries, CHIPS)
    if axes.stack.same_text:
        return rows, rows
    best = 0
    if row is not None:
        best = int(axes.weights(head, slice(row, row + 1)).argmax())
    return rows, around(best, keys, CHIPS)
