"""Measures of all edges of a head: quick ones, and those with many runs, as a background job."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import streamlit as st
from jaxtyping import Bool, Float

from attnviz.attention import AttentionStack
from attnviz.errors import InputError
from attnviz.experiments.edges.edge_gradients import edge_gradients
from attnviz.experiments.edges.edge_removal import Edge, remove_edges
from attnviz.experiments.edges.rollout import attention_flow, rollout
from attnviz.experiments.edges.value_norms import value_norms
from attnviz.experiments.edges.value_zeroing import value_zeroing
from attnviz.findings import Progress
from attnviz.types import Head
from attnviz.ui.jobs.background_jobs import Work
from attnviz.ui.jobs.long_jobs import wait_for
from attnviz.ui.server.run_places import giving_way
from attnviz.ui.session.model_cache import Request, captured, load_model
from attnviz.ui.session.request_ids import request_ids

__all__ = ["SLOW", "EdgeNumbers", "quick_edges", "slow_edges"]

SLOW = ("zeroing", "flow", "removal")
"""Measures of many runs, or of many largest flows."""

MOST_REMOVED = 300
"""Most edges that are removed one at a time; of a longer text those of the chosen row are."""

MOST_READ = 12_000
"""Most tokens that are read again for removals."""

AT_ONCE = 16
"""Most tokens of a text that is measured without a background job: in about half a second."""

Report = Callable[[float], None]


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

    def with_slow(self, slow: EdgeNumbers) -> EdgeNumbers:
        """Return these measures and the slow ones."""
        tables = {name: one for name, one in self.tables.items() if name not in SLOW}
        reasons = {name: one for name, one in self.reasons.items() if name not in SLOW}
        return EdgeNumbers(
            {**tables, **slow.tables}, {**reasons, **slow.reasons}, self.visible, self.row
        )


@st.cache_resource(max_entries=32, show_spinner="Measuring the edges …")
def quick_edges(request: Request, head: Head, row: int) -> EdgeNumbers:
    """Return the measures of a few runs; of removals the edge of the row's largest weight; cached.

    The prediction that is explained is that of the row's token; of an encoder beside a decoder the
    last prediction of the decoder.
    """
    model, text = load_model(request.model), request_ids(request)
    stack = captured(request)[head.kind]
    weights = stack.weights(head.layer, head.head).astype(np.float64)
    first = (row, int(np.nan_to_num(weights[row]).argmax()))
    return _measured(
        {
            "weight": lambda: weights,
            "norm": lambda: value_norms(model, stack, head),
            "gradient": lambda: edge_gradients(model, text, head, _position(head, row)),
            "rollout": lambda: rollout(stack, head.layer),
            "removal": lambda: _removed(request, head, row, [first], None),
        },
        _visible(stack, head),
        row,
    )


def slow_edges(request: Request, head: Head, row: int) -> EdgeNumbers | None:
    """Return the slow measures; for a longer text once a background job has finished.

    Until then a button that starts the job, or its bar, is shown.
    """
    text = request_ids(request)
    if max(len(text.ids), len(text.target or ())) <= AT_ONCE:
        return _slow_at_once(request, head, row)

    def work() -> Work[EdgeNumbers]:
        def run(progress: Callable[[Progress], None]) -> EdgeNumbers:
            report, begun = giving_way(progress), time.monotonic()

            def step(number: int, name: str) -> Report:
                def reported(share: float) -> None:
                    whole = (number + share) / len(SLOW)
                    report(Progress(name, whole, time.monotonic() - begun))

                reported(0.0)
                return reported

            return _slow(request, head, row, step)

        return run

    model = load_model(request.model).info
    key = ("edges", model.name, model.revision, request, head, row)
    result: EdgeNumbers | None = wait_for(key, work, "Measure every edge")
    return result


@st.cache_resource(max_entries=32, show_spinner="Measuring the edges …")
def _slow_at_once(request: Request, head: Head, row: int) -> EdgeNumbers:
    return _slow(request, head, row, lambda number, name: lambda share: None)


def _slow(
    request: Request, head: Head, row: int, step: Callable[[int, str], Report]
) -> EdgeNumbers:
    """Return the slow measures; `step` begins each and returns the callback for its share."""
    model, text = load_model(request.model), request_ids(request)
    stack = captured(request)[head.kind]
    visible = _visible(stack, head)
    edges = _edges(visible, row, len(text.ids))
    return _measured(
        {
            "zeroing": lambda: value_zeroing(
                model, text, head, progress=step(0, "Zeroing each value")
            ),
            "flow": lambda: _in_row(
                stack,
                row,
                attention_flow(stack, head.layer, row, progress=step(1, "Flow to each token")),
            ),
            "removal": lambda: _removed(request, head, row, edges, step(2, "Removing each edge")),
        },
        visible,
        row,
    )


def _measured(
    compute: Mapping[str, Callable[[], np.ndarray]],
    visible: Bool[np.ndarray, "query key"],
    row: int,
) -> EdgeNumbers:
    """Return tables, and a sentence in place of what a model has not."""
    tables, reasons = {}, {}
    for name, function in compute.items():
        try:
            tables[name] = np.where(visible, function(), np.nan)
        except InputError as error:
            reasons[name] = str(error)
    return EdgeNumbers(tables, reasons, visible, row)


def _position(head: Head, row: int) -> int:
    """Return the position whose prediction is explained."""
    return -1 if head.kind == "encoder" else row


def _visible(stack: AttentionStack, head: Head) -> Bool[np.ndarray, "query key"]:
    """Return the mask of the edges that exist."""
    return ~np.isneginf(stack.scores(head.layer, head.head))


def _edges(visible: Bool[np.ndarray, "query key"], row: int, tokens: int) -> list[Edge]:
    """Return the edges that are removed: all, or those of the row where that is too many."""
    edges = [(int(query), int(key)) for query, key in np.argwhere(visible)]
    if len(edges) > MOST_REMOVED or len(edges) * tokens > MOST_READ:
        return [(query, key) for query, key in edges if query == row]
    return edges


def _removed(
    request: Request, head: Head, row: int, edges: list[Edge], report: Report | None
) -> Float[np.ndarray, "query key"]:
    """Return the change of the prediction without each edge; NaN for the others."""
    model, text = load_model(request.model), request_ids(request)
    removed = remove_edges(model, text, head, edges, _position(head, row), progress=report)
    table = np.full(captured(request)[head.kind].shape[2:], np.nan)
    table[tuple(np.array(edges).T)] = removed.divergence
    return table


def _in_row(
    stack: AttentionStack, row: int, values: Float[np.ndarray, " key"]
) -> Float[np.ndarray, "query key"]:
    """Return a table with one known row."""
    table = np.full(stack.shape[2:], np.nan)
    table[row] = values
    return table
