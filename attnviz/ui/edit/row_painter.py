"""Sliders for one row of weights: one for each chosen key."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from attnviz import words
from attnviz.attention import AttentionStack
from attnviz.experiments.edits.edit_rules import Edit, paint
from attnviz.types import Head
from attnviz.ui.components.choices import choice
from attnviz.written_numbers import decimals

__all__ = ["painted_row", "shares"]

MOST_KEYS = 8
"""Most keys with a slider."""

AT_FIRST = 3  # keys with a slider before any is chosen


def painted_row(stack: AttentionStack, head: Head) -> Edit:
    """Show a menu of queries, the keys that get weight, and a slider for each; return the edit.

    Raises:
        InputError: the weights do not sum to 1.
    """
    queries = range(len(stack.query_tokens))
    if st.session_state.get("paint_query") not in queries:
        st.session_state["paint_query"] = queries[-1]
    query = choice(
        "Row of",
        queries,
        "paint_query",
        shape="menu",
        label_of=lambda place: f"{place}: {words.quoted(stack.query_tokens.labels[place])}",
        keep=False,
    )
    visible = np.flatnonzero(stack.layers[head.layer].visibility.table()[0, query].cpu().numpy())
    weights = stack.weights(head.layer, head.head, slice(query, query + 1))[0][visible]
    order = np.argsort(-np.nan_to_num(weights))
    strongest = sorted(visible[order[:AT_FIRST]].tolist())
    name = f"paint:{head.label}:{query}:{len(stack.key_tokens)}"
    keys = st.multiselect(
        "Keys with weight",
        visible.tolist(),
        strongest,
        format_func=lambda key: f"{key}: {words.quoted(stack.key_tokens.labels[key])}",
        key=f"{name}:keys",
        max_selections=MOST_KEYS,
        wrap=True,
        help="All other keys of the row get 0. At first the strongest keys of the model.",
    )
    by_key = dict(zip(visible.tolist(), np.nan_to_num(weights).tolist(), strict=True))
    starts = dict(zip(strongest, shares([by_key[key] for key in strongest]), strict=True))
    row = np.zeros(len(stack.key_tokens))
    names = {key: f"{name}:{key}" for key in keys}
    for key in sorted(keys):
        row[key] = st.slider(
            f"{key}: {words.quoted(stack.key_tokens.labels[key])}",
            0.0, 1.0, starts.get(key, 0.0), 0.01, key=names[key],
        )  # fmt: skip
    total = float(row.sum())
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"Sum **{decimals(total)}**" + ("" if abs(total - 1) < 5e-3 else ": it has to be 1")
        )
        st.button(
            "Make it 1",
            key="paint_sum",
            on_click=_make_one,
            args=(list(names.values()),),
            disabled=total <= 0 or abs(total - 1) < 1e-6,
        )
    last = max((key for key in keys if row[key] > 0), default=0)
    return paint(head, {query: [round(float(one), 4) for one in row[: last + 1]]})


def _make_one(names: Sequence[str]) -> None:
    numbers = [float(st.session_state.get(name, 0.0)) for name in names]
    for name, share in zip(names, shares(numbers), strict=True):
        st.session_state[name] = share


def shares(numbers: Sequence[float]) -> list[float]:
    """Return numbers divided by their sum, in hundredths that sum to exactly 1.

    The largest takes what rounding leaves. All zero stays all zero.
    """
    total = float(np.sum(numbers))
    if total <= 0:
        return [0.0 for _ in numbers]
    parts = [round(100 * float(one) / total) for one in numbers]
    parts[int(np.argmax(numbers))] += 100 - sum(parts)
    return [part / 100 for part in parts]
