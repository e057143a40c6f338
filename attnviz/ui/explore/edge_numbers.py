"""Measures of all edges of a head for the text of a request, computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import streamlit as st
from jaxtyping import Bool, Float

from attnviz.attention import AttentionStack
from attnviz.errors import InputError
from attnviz.experiments.edges.edge_gradients import edge_gradients
from attnviz.experiments.edges.edge_removal import remove_edges
from attnviz.experiments.edges.rollout import attention_flow, rollout
from attnviz.experiments.edges.value_norms import value_norms
from attnviz.experiments.edges.value_zeroing import value_zeroing
from attnviz.types import Head
from attnviz.ui.session.model_cache import Request, captured, load_model
from attnviz.ui.session.request_ids import request_ids

__all__ = ["EdgeNumbers", "edge_numbers"]

MOST_REMOVED = 300
"""Most edges that are removed one at a time; of a longer text those of the chosen row are."""

MOST_READ = 12_000
"""Most tokens that are read again for removals."""


@dataclass(frozen=True)
class EdgeNumbers:
    """Measures of the edges of a head.

    Attributes:
        tables: by measure, [query, key]; NaN where an edge does not exist or was not measured.
        reasons: by measure, the sentence why it is missing.
        visible: mask of the edges that exist.
        row: query whose prediction is explained.
    """

    tables: Mapping[str, Float[np.ndarray, "query key"]]
    reasons: Mapping[str, str]
    visible: Bool[np.ndarray, "query key"]
    row: int


@st.cache_resource(max_entries=32, show_spinner="Measuring the edges …")
def edge_numbers(request: Request, head: Head, row: int) -> EdgeNumbers:
    """Return every measure of the edges of a head; cached.

    The prediction that is explained is that of the row's token; of an encoder beside a decoder the
    last prediction of the decoder.
    """
    model, text = load_model(request.model), request_ids(request)
    stack = captured(request)[head.kind]
    position = -1 if head.kind == "encoder" else row
    visible = ~np.isneginf(stack.scores(head.layer, head.head))
    compute: dict[str, Callable[[], np.ndarray]] = {
        "weight": lambda: stack.weights(head.layer, head.head).astype(np.float64),
        "norm": lambda: value_norms(model, stack, head),
        "gradient": lambda: edge_gradients(model, text, head, position),
        "zeroing": lambda: value_zeroing(model, text, head),
        "rollout": lambda: rollout(stack, head.layer),
        "flow": lambda: _in_row(stack, row, attention_flow(stack, head.layer, row)),
    }

    def removal() -> np.ndarray:
        edges = [(int(query), int(key)) for query, key in np.argwhere(visible)]
        if len(edges) > MOST_REMOVED or len(edges) * len(text.ids) > MOST_READ:
            edges = [(query, key) for query, key in edges if query == row]
        table = np.full(visible.shape, np.nan)
        removed = remove_edges(model, text, head, edges, position)
        table[tuple(np.array(edges).T)] = removed.divergence
        return table

    compute["removal"] = removal
    tables, reasons = {}, {}
    for name, function in compute.items():
        try:
            tables[name] = np.where(visible, function(), np.nan)
        except InputError as error:
            reasons[name] = str(error)
    return EdgeNumbers(tables, reasons, visible, row)


def _in_row(
    stack: AttentionStack, row: int, values: Float[np.ndarray, " key"]
) -> Float[np.ndarray, "query key"]:
    """Return a table with one known row."""
    table = np.full(stack.shape[2:], np.nan)
    table[row] = values
    return table
