"""Views of one head: map, vectors, rows, numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st

from attnviz import metrics, words
from attnviz.attention import AttentionStack
from attnviz.captures.forward_pass import Capture
from attnviz.experiments.edits.edit_rules import Edit
from attnviz.types import Head, Tokens
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.choices import choice
from attnviz.ui.components.figures_and_tables import show_picture, show_table, table_download
from attnviz.ui.components.token_strip import part
from attnviz.ui.edit.edit_list import change
from attnviz.ui.explore.edge_panel import show_edges
from attnviz.ui.explore.row_panel import show_rows
from attnviz.ui.explore.token_panel import around
from attnviz.ui.explore.unit_choice import Units
from attnviz.ui.explore.weight_panel import show_map
from attnviz.ui.session import state
from attnviz.ui.session.model_cache import Request, summary
from attnviz.ui.session.page_links import page_named
from attnviz.ui.session.plain_text import show_plain
from attnviz.ui.strongest.other_texts import show_other_texts
from attnviz.views import draw_products, draw_vectors

__all__ = ["show_head"]

VECTORS = {"query": "Queries", "key": "Keys", "value": "Values", "products": "Query × key"}
VECTOR_ROWS = 256  # vectors drawn below each other


def show_head(capture: Capture, request: Request, head: Head, metric: str, units: Units) -> None:
    """Show the chosen head in the chosen view: only that one is drawn and sent."""
    stack = capture[head.kind]
    sides: dict[str, Callable[[], None]] = {
        "Weights": lambda: show_map(request, head, units=units),
        "What flows": lambda: show_edges(capture, request, head),
        "Queries and keys": lambda: _vectors(stack, head),
        "Row by row": lambda: _rows(stack, head, metric),
        "Other texts": lambda: show_other_texts(capture, request, head, metric),
        "Numbers": lambda: _numbers(capture[head.kind], request, head),
    }
    sides[choice("Show", list(sides), state.VIEW, show_label=False)]()
    if capture.predictions and st.button(
        f"What if {head.label} were off?",
        icon=":material/tune:",
        key="what_if",
        type="tertiary",
        help="Opens the page Edit with this head switched off.",
    ):
        change((Edit("zero", head),))
        st.switch_page(page_named("edit"))
    st.page_link(
        page_named("laboratory"),
        label="How would a window do here?",
        icon=":material/science:",
        query_params=state.address_of(head),
        help="This head in the laboratory: sixteen variants on its queries, keys and values.",
    )


def _vectors(stack: AttentionStack, head: Head) -> None:
    vectors = {"query": stack.query, "key": stack.key, "value": stack.value}
    chosen = choice("Vectors", VECTORS, "vectors", first="products", show_label=False)
    name = f"attnviz-{chosen}-L{head.layer}H{head.head}"
    chosen_token = state.token(len(stack.query_tokens))
    token = len(stack.query_tokens) - 1 if chosen_token is None else chosen_token
    if chosen in vectors:
        tokens = stack.query_tokens if chosen == "query" else stack.key_tokens
        shown = _shown(tokens, token if chosen == "query" or stack.same_text else 0)
        figure = draw_vectors(
            vectors[chosen](head.layer, head.head)[shown],
            part(tokens, shown),
            label=chosen,
            first=shown.start,
            theme=current_theme(),
        )
        show_picture(
            figure,
            key="vector_map",
            filename=name,
            alt=f"The {chosen} vectors of {head.label}, one row per token",
        )
        return
    label = stack.query_tokens.labels[token]
    show_plain(
        "The score of a key is the sum of these products, one per dimension (and a position bias "
        f"in some models). Query: {words.quoted(label)} at position {token}; click another "
        "token below.",
        small=True,
    )
    shown = _shown(stack.key_tokens, token if stack.same_text else 0)
    row = slice(token, token + 1)
    hidden = np.isneginf(stack.scores(head.layer, head.head, row, shown)[0])
    weights = np.where(hidden, np.nan, stack.weights(head.layer, head.head, row, shown)[0])
    figure = draw_products(
        stack.query(head.layer, head.head)[token],
        stack.key(head.layer, head.head)[shown],
        part(stack.key_tokens, shown),
        scaling=stack.layers[head.layer].scaling,
        query_label=label,
        first=shown.start,
        theme=current_theme(),
        weights=weights,
    )
    show_picture(
        figure,
        key="products",
        filename=name,
        alt=f"Products of query and keys of {head.label}, one row per key",
    )


def _shown(tokens: Tokens, token: int) -> slice:
    """Return the tokens whose vectors are drawn.

    These are all tokens, or those around the chosen one of a long text.
    """
    shown = around(token, len(tokens), VECTOR_ROWS)
    if len(tokens) > VECTOR_ROWS:
        st.caption(
            f"Tokens {shown.start:,} to {shown.stop - 1:,} of {len(tokens):,}, around the chosen "
            "token: a row for each of a long text would be thinner than a line."
        )
    return shown


def _rows(stack: AttentionStack, head: Head, metric: str) -> None:
    what = metrics.describe(metric)
    values = metrics.per_row(metric, stack)[head.layer, head.head]
    low, high = what.limits
    st.caption(f"{what.label} of every row of this head. {what.meaning}")
    show_rows(
        values,
        stack.query_tokens,
        label=what.label,
        unit=what.unit,
        limits=(low, high) if low is not None and high is not None else None,
        key="rows",
        filename=f"attnviz-{metric}-L{head.layer}H{head.head}",
        alt=f"{what.label} of {head.label}",
    )
    table_download(
        pd.DataFrame({"token": stack.query_tokens.labels, metric: values}),
        key="rows:csv",
        filename=f"attnviz-{metric}-L{head.layer}H{head.head}",
    )


def _numbers(stack: AttentionStack, request: Request, head: Head) -> None:
    table = pd.DataFrame(
        [
            {
                "metric": one.label,
                "value": words.number(one.value, one.unit),
                "rank": f"{one.rank} of {one.of}" if one.of and not np.isnan(one.value) else "",
                "what it says": one.meaning,
            }
            for one in words.numbers(stack, head.layer, head.head)
        ]
    )
    show_table(table, key="numbers", filename=f"attnviz-numbers-L{head.layer}H{head.head}", lines=2)
    with st.expander("All heads as a table"):
        show_table(
            summary(request),
            key="summary",
            filename="attnviz-all-heads",
            labels={name: metrics.describe(name).label for name in metrics.names()},
        )
