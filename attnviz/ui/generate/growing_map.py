"""Maps of a text that grows: one head over all tokens, and all heads for one token."""

from __future__ import annotations

import numpy as np
import streamlit as st
from jaxtyping import Float

from attnviz.attention.stack.map_tiles import BINS, Grid, Window
from attnviz.types import Head
from attnviz.ui.components.plotly_map import plotly_map
from attnviz.ui.generate.written_text import Written
from attnviz.views.maps.map_specification import weight_specification

__all__ = ["show_all_heads", "show_growing_map", "table_grid"]


def table_grid(numbers: Float[np.ndarray, "row column"], window: Window) -> Grid:
    """Return a window of a table for the map component; the largest of each bin if it is long."""
    part = numbers[window.slices]
    steps = [max(1, -(-size // BINS)) for size in part.shape]
    if steps == [1, 1]:
        return Grid(window, 1, 1, part)
    padding = [(0, -size % step) for size, step in zip(part.shape, steps, strict=True)]
    padded = np.pad(part, padding, constant_values=np.nan)
    rows, columns = (size // step for size, step in zip(padded.shape, steps, strict=True))
    bins = padded.reshape(rows, steps[0], columns, steps[1])
    known = np.where(np.isnan(bins), -1.0, bins).max((1, 3))
    return Grid(window, steps[0], steps[1], np.where(known < 0, np.nan, known).astype(np.float32))


def show_growing_map(written: Written, head: Head, step: int | None) -> int | None:
    """Draw the map of one head; return the step whose row was clicked, or None.

    Args:
        written: the text.
        head: whose map.
        step: the step whose row is marked.
    """
    weights = written.weights(head)
    first = len(written.prompt) - 1
    labels = written.labels()
    keys = written.source_labels() if head.kind == "cross" else labels
    clicked: list[int] = []

    def click(row: int | None, column: int | None) -> None:
        if row is not None and row >= first and row - first < len(written.steps):
            clicked.append(row - first)
            st.session_state["step"] = row - first

    plotly_map(
        weight_specification(),
        labels[: len(weights)],
        keys,
        lambda window: table_grid(weights, window),
        depends_on=(weights.tobytes(),),
        selected=None if step is None else (first + step, None),
        on_cell=click,
        filename=f"attnviz-generated-{head.kind}-L{head.layer}H{head.head}",
        alt=f"Weights of {head.label} over the prompt and the generated tokens",
        key="growing_map",
    )
    return clicked[0] if clicked else None


def show_all_heads(written: Written, head: Head, step: int) -> None:
    """Draw the row of one step in every head of a kind: a row per head."""
    rows = written.steps[step].rows[head.kind]
    layers, heads, keys = rows.shape
    table = rows.reshape(layers * heads, keys).astype(np.float32)
    names = [f"L{layer}·H{one}" for layer in range(layers) for one in range(heads)]
    labels = written.source_labels() if head.kind == "cross" else written.labels()
    plotly_map(
        weight_specification(),
        names,
        labels[:keys],
        lambda window: table_grid(table, window),
        depends_on=(table.tobytes(),),
        selected=(head.layer * heads + head.head, None),
        selects="none",
        tallest=620,
        filename="attnviz-generated-all-heads",
        alt=f"The row of token {written.steps[step].position} in every head",
        key="all_heads_map",
    )
