"""Panel of Explore: measures of the edges of a head on one map, and their agreement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from attnviz import words
from attnviz.attention.stack.map_tiles import Grid
from attnviz.captures.forward_pass import Capture
from attnviz.experiments.edges.one_head import MOST_EDGE_TOKENS
from attnviz.experiments.edges.rank_agreement import rank_agreement
from attnviz.types import Head
from attnviz.ui.components.choices import choice
from attnviz.ui.components.figures_and_tables import show_table
from attnviz.ui.components.plotly_map import plotly_map
from attnviz.ui.explore.edge_numbers import SLOW, EdgeNumbers, quick_edges, slow_edges
from attnviz.ui.explore.weight_panel import row_note
from attnviz.ui.session import state
from attnviz.ui.session.model_cache import Request
from attnviz.ui.session.plain_text import Strong, plain, show_plain
from attnviz.views.maps.map_specification import (
    MapSpecification,
    effect_specification,
    weight_specification,
)
from attnviz.written_numbers import decimals, nats

__all__ = ["MEASURES", "agreement_table", "show_edges"]

MEASURES = {
    "weight": "Weight",
    "norm": "Value-weighted",
    "gradient": "Gradient × weight",
    "zeroing": "Value zeroing",
    "rollout": "Rollout",
    "flow": "Flow",
    "removal": "Removed",
}

MEANINGS = {
    "weight": "The attention weight: a share of 1 in each row.",
    "norm": "Length of weight × value in the residual stream (Kobayashi et al. 2020).",
    "gradient": "Estimate of what the prediction of this row would lose without the edge, in nats.",
    "zeroing": "How far the row's vector turns when this key's value is 0 in this head (Mohebbi et "
    "al. 2023).",
    "rollout": "All heads and layers up to here, with residuals (Abnar and Zuidema 2020).",
    "flow": "Largest flow from this row down to each input token (Abnar and Zuidema 2020).",
    "removal": "KL of the row's prediction when the model runs without this edge, in nats.",
}


def show_edges(capture: Capture, request: Request, head: Head) -> None:
    """Show the measures of the edges of a head for the chosen token, or the last one."""
    stack = capture[head.kind]
    if max(stack.shape[2:]) > MOST_EDGE_TOKENS:
        st.info(
            f"Edges are measured on texts of at most {MOST_EDGE_TOKENS} tokens, and this one has "
            f"{max(stack.shape[2:]):,}. Shorten it in the side bar.",
            icon=":material/info:",
        )
        return
    chosen = state.token(len(stack.query_tokens))
    row = len(stack.query_tokens) - 1 if chosen is None else chosen
    measure = choice("What the map shows", MEASURES, "edge_measure", shape="menu")
    numbers = quick_edges(request, head, row)
    st.caption(MEANINGS[measure])
    above, middle, below = (st.container() for _ in range(3))
    with above if measure in SLOW else below:
        slow = slow_edges(request, head, row)
    numbers = numbers if slow is None else numbers.with_slow(slow)
    with middle:
        if measure in numbers.reasons:
            st.info(plain(numbers.reasons[measure]), icon=":material/info:")
        elif measure not in SLOW or slow is not None:
            row_note(head)
            _map(capture, head, numbers, measure, chosen)
        _removal_sentence(capture, head, numbers)
        _agreement(numbers)


def _agreement(numbers: EdgeNumbers) -> None:
    """Show how far the measures agree."""
    table = agreement_table(numbers)
    if len(table):
        with st.expander("Do the measures agree?"):
            st.caption(
                "Spearman's rank correlation over the edges of this head: 1 is the same order. "
                "Sizes are compared, without signs; "
                "flow in the chosen row only."
            )
            show_table(table, key="edge_agreement", filename="attnviz-edge-agreement")


def _map(
    capture: Capture, head: Head, numbers: EdgeNumbers, measure: str, chosen: int | None
) -> None:
    stack = capture[head.kind]
    table = numbers.tables[measure].astype(np.float32)
    plotly_map(
        _specification(measure, table, numbers.visible),
        stack.query_tokens.labels,
        stack.key_tokens.labels,
        lambda window: Grid(window, 1, 1, table[window.slices]),
        depends_on=(measure, table.tobytes()),
        selected=None if chosen is None else (chosen, None),
        on_cell=lambda query, key: state.choose_token(query),
        filename=f"attnviz-{measure}-{head.kind}-L{head.layer}H{head.head}",
        alt=f"{MEASURES[measure]} of every edge of {head.label}",
        key="edge_map",
    )


def _specification(measure: str, table: np.ndarray, visible: np.ndarray) -> MapSpecification:
    """Return the specification of a measure; only gradients have signs."""
    sizes = np.abs(table[np.isfinite(table)])
    high = float(sizes.max(initial=0.0)) or 1.0
    if measure == "gradient":
        return effect_specification(
            "gradient × weight", high, corner="key →<br>query ↓", missing="masked", numbers=False
        )
    specification = weight_specification(
        value=MEASURES[measure].lower(), high=1.0 if measure == "weight" else high
    )
    if np.isfinite(table[visible]).all():
        return specification
    missing = "masked, or not measured"
    return replace(specification, missing=missing, missing_caption=missing)


def _removal_sentence(capture: Capture, head: Head, numbers: EdgeNumbers) -> None:
    """Show what removing the edge of the largest weight does, beside the largest effect."""
    if "removal" not in numbers.tables:
        st.info(plain(numbers.reasons["removal"]), icon=":material/info:")
        return
    stack = capture[head.kind]
    weights = numbers.tables["weight"][numbers.row]
    removed = numbers.tables["removal"][numbers.row]
    if not np.isfinite(removed).any():
        return
    first, largest = int(np.nanargmax(weights)), int(np.nanargmax(removed))

    def named(key: int) -> str:
        return f"{words.quoted(stack.key_tokens.labels[key])} ({key})"

    show_plain(
        "Row ", words.quoted(stack.query_tokens.labels[numbers.row]), f" ({numbers.row}): the "
        f"largest weight, {decimals(weights[first])}, is on {named(first)}. Without this edge the "
        "prediction changes by ", Strong(f"{nats(removed[first])} nats"), "."
        + ("" if largest == first else
           f" The edge that matters most is {named(largest)}: weight {decimals(weights[largest])}, "
           f"{nats(removed[largest])} nats."),
    )  # fmt: skip
    st.caption(
        "Weight is not explanation: in gpt-classroom, on “The red dog saw the blue bird. The "
        "red”, the last rows of L0·H1 and L0·H7 both have one edge of weight 1.00. Removing it "
        "changes the prediction by 2.48 nats in the first and by 0.006 in the second."
    )


def agreement_table(numbers: EdgeNumbers) -> pd.DataFrame:
    """Return Spearman's rank correlation of each measure with weights and with removals.

    Of one edge alone there is none.
    """
    rows = []
    tables = {name: one for name, one in numbers.tables.items() if np.isfinite(one).sum() > 1}
    for name, table in tables.items():
        row: dict[str, object] = {"measure": MEASURES[name]}
        for other in ("weight", "removal"):
            if other in tables:
                known = numbers.visible
                one, two = (np.abs(part[known]) for part in (table, tables[other]))
                row[f"with {MEASURES[other].lower()}"] = round(rank_agreement(one, two), 3)
        rows.append(row)
    return pd.DataFrame(rows)
