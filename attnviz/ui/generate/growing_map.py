"""Maps of a text that grows: one head over all tokens, and all heads for one token."""

from __future__ import annotations

import numpy as np
import streamlit as st

from attnviz.attention.stack.map_tiles import table_grid
from attnviz.types import Head
from attnviz.ui.components.plotly_map import plotly_map
from attnviz.ui.generate.candidate_panel import STEP
from attnviz.ui.generate.written_text import Written
from attnviz.views.maps.map_specification import weight_specification

__all__ = ["show_all_heads", "show_growing_map"]


def show_growing_map(written: Written, head: Head, step: int | None) -> None:
    """Draw the map of one head; a click on the row of a step chooses it.

    Args:
        written: the text.
        head: whose map.
        step: the step whose row is marked.
    """
    weights = written.weights(head)
    first = len(written.prompt) - 1
    labels = written.labels()
    keys = written.source_labels() if head.kind == "cross" else labels

    def click(row: int | None, column: int | None) -> None:
        if row is not None and row >= first and row - first < len(written.steps):
            st.session_state[STEP] = row - first

    plotly_map(
        weight_specification(),
        labels[: len(weights)],
        keys,
        lambda window: table_grid(weights, window),
        depends_on=(written.request, written.ids, head),
        selected=None if step is None else (first + step, None),
        on_cell=click,
        filename=f"attnviz-generated-{head.kind}-L{head.layer}H{head.head}",
        alt=f"Weights of {head.label} over the prompt and the generated tokens",
        key="growing_map",
    )


def show_all_heads(written: Written, head: Head, step: int) -> None:
    """Draw the row of one step in every head of a kind: a row per head."""
    rows = written.steps[step].rows[head.kind]
    layers, heads, keys = rows.shape
    table = rows.reshape(layers * heads, keys).astype(np.float32)
    names = [Head(head.kind, layer, one).label for layer in range(layers) for one in range(heads)]
    labels = written.source_labels() if head.kind == "cross" else written.labels()
    plotly_map(
        weight_specification(),
        names,
        labels[:keys],
        lambda window: table_grid(table, window),
        depends_on=(written.request, written.ids, step, head.kind),
        selected=(head.layer * heads + head.head, None),
        selects="none",
        tallest=620,
        filename="attnviz-generated-all-heads",
        alt=f"The row of token {written.steps[step].position} in every head",
        key="all_heads_map",
    )
