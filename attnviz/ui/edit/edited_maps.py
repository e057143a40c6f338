"""Map of a head before and after edits, side by side, and the heads whose rows change most."""

from __future__ import annotations

import numpy as np
import streamlit as st

from attnviz.attention import AttentionStack
from attnviz.attention.stack.map_tiles import grid
from attnviz.captures.forward_pass import Capture
from attnviz.experiments.edits.edit_rules import Edit
from attnviz.metrics import jensen_shannon
from attnviz.types import Head
from attnviz.ui.components.choices import choice
from attnviz.ui.components.plotly_map import plotly_map
from attnviz.ui.edit.effect_panel import POSITION
from attnviz.ui.edit.listed_edits import ListedEdit, edited_head
from attnviz.ui.session.model_cache import Request
from attnviz.ui.session.plain_text import show_plain
from attnviz.views.maps.map_specification import weight_specification
from attnviz.views.style.plotly_numbers import known_mean
from attnviz.written_numbers import nats

__all__ = ["row_changes", "show_maps"]

COMPARED_TOKENS = 256
"""Longest text for which the rows of all heads are compared."""

MOST_CHANGED = 4
"""Heads that are listed because their rows change."""

LEAST_CHANGE = 1e-4
"""Smallest mean divergence of rows that is listed, in nats."""

OUTPUT_ONLY = ("zero", "mean", "scale")


Run = tuple[Request, tuple[ListedEdit, ...]]
"""Model and text, and the edits."""


def show_maps(
    captures: tuple[Capture, Capture],
    first: Run,
    second: Run,
    edits: tuple[ListedEdit, ...],
    head: Head,
) -> None:
    """Show the menu of heads and the two maps of the chosen one.

    Args:
        captures: before and after.
        first: what the first one depends on.
        second: what the second one depends on.
        edits: all edits of the list that fit.
        head: the head that the form has chosen.
    """
    before, after = captures
    edited_heads = [one for one in map(edited_head, edits) if one is not None]
    changes: dict[Head, float] = {}
    if max(max(before[kind].shape[2:]) for kind in before.kinds) <= COMPARED_TOKENS:
        changes = row_changes(before, after)
    ranked = sorted(changes, key=lambda one: -changes[one])[:MOST_CHANGED]
    most = [one for one in ranked if changes[one] > LEAST_CHANGE]
    listed = {one.label: one for one in [*edited_heads, *most, head]}
    if st.session_state.get("edit_map") not in listed:
        st.session_state["edit_map"] = most[0].label if most else head.label
    names = {name: _named(one, changes, edited_heads) for name, one in listed.items()}
    shown = listed[
        choice(
            "Map of",
            names,
            "edit_map",
            shape="menu",
            keep=False,
            width=360,
            explanation="Edited heads, and the heads whose rows change most: by the mean "
            "Jensen-Shannon divergence of their rows before and after.",
        )
    ]
    if _only_output(edits, shown):
        show_plain(
            f"The edit changes what {shown.label} gives on, not where it looks. The rows of later "
            "layers change.",
            small=True,
        )
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**Before**")
        _map(before[shown.kind], shown, first, "before")
    with right:
        st.markdown("**After**")
        _map(after[shown.kind], shown, second, "after")


def _only_output(edits: tuple[ListedEdit, ...], head: Head) -> bool:
    """Return whether the edits of a head leave its rows as they are."""
    actions = [edit.action for edit in edits if isinstance(edit, Edit) and edit.head == head]
    return bool(actions) and all(action in OUTPUT_ONLY for action in actions)


def _named(head: Head, changes: dict[Head, float], edited_heads: list[Head]) -> str:
    parts = [head.label]
    if head in edited_heads:
        parts.append("edited")
    if head in changes:
        parts.append(f"{nats(changes[head])} nats")
    return " · ".join(parts)


def _map(stack: AttentionStack, head: Head, source: Run, side: str) -> None:
    position = st.session_state.get(POSITION)
    writes = head.kind in ("self", "decoder", "cross")
    selected = position if writes and isinstance(position, int) else None

    def click(row: int | None, column: int | None) -> None:
        if row is not None and writes:
            st.session_state[POSITION] = row

    plotly_map(
        weight_specification(),
        stack.query_tokens.labels,
        stack.key_tokens.labels,
        lambda window: grid(stack, head, window, how="max", aside=np.array([], dtype=int)),
        depends_on=(*source, head),
        selected=None if selected is None else (selected, None),
        on_cell=click,
        tallest=620,
        filename=f"attnviz-edit-{side}-{head.kind}-L{head.layer}H{head.head}",
        alt=f"Weights of {head.label} {side} the edits",
        key=f"{side}_map",
    )


def row_changes(before: Capture, after: Capture) -> dict[Head, float]:
    """Return the mean Jensen-Shannon divergence of the rows of each head, nats."""
    changes: dict[Head, float] = {}
    for kind in before.kinds:
        first, second = before[kind], after[kind]
        layers, heads = first.shape[:2]
        for layer in range(layers):
            for head in range(heads):
                rows = jensen_shannon(first.weights(layer, head), second.weights(layer, head))
                changes[Head(kind, layer, head)] = float(known_mean(rows))
    return changes
