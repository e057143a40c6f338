"""Table of all heads of a diagnosis: filtered, sorted, searched; a click shows a head above."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from attnviz.doctor import Diagnosis
from attnviz.findings import LABELS, Finding, Interval, Verdict
from attnviz.removals import by_surprise
from attnviz.types import Head
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.checked_reports import first_item, index, record
from attnviz.ui.components.choices import choices
from attnviz.ui.components.figures_and_tables import known_columns
from attnviz.ui.session import state
from attnviz.views import label_colors
from attnviz.views.diagnosis.label_colors import text_color_on
from attnviz.views.report.summary_sentences import head_count
from attnviz.words import rounded
from attnviz.written_numbers import decimals

__all__ = ["head_table"]


def head_table(diagnosis: Diagnosis) -> None:
    """Show all heads: filters above, sorting in the headings, a click on a row shows that head."""
    present = [name for name in LABELS if any(one.label == name for one in diagnosis.findings)]
    reached = {one.verdict for one in diagnosis.findings}
    left, middle, right = st.columns([4, 4, 3], gap="medium")
    with left:
        labels = choices(
            "Labels",
            present,
            "diagnosis_labels",
            explanation="Shows only heads with one of these labels; all of them when none is "
            "chosen.",
        )
    with middle:
        verdicts = choices(
            "Removing the head",
            [name for name in Verdict if name in reached],
            "diagnosis_verdicts",
            explanation="Shows only heads with one of these effects of their removal on the loss.",
        )
    words = right.text_input(
        "Search",
        key="diagnosis_search",
        placeholder="induction, L2, redundant with …",
        persist_state="session",
        help="Finds heads by anything their row says.",
    )
    shown = [
        one
        for one in by_surprise(diagnosis.findings)
        if (not labels or one.label in labels)
        and (not verdicts or one.verdict in verdicts)
        and all(word in _searched(one) for word in words.lower().split())
    ]
    st.caption(
        f"{head_count(len(shown))} of {len(diagnosis.findings)}. The most surprising come first. "
        "Click a heading to sort, and the box at the left of a row to see that head above."
    )
    if shown:
        _rows(diagnosis, shown)


def _searched(finding: Finding) -> str:
    also = " ".join(finding.also)
    words = " ".join(finding.sentences)
    name = finding.head.label.replace("·", " ")
    return f"{name} {finding.name} {finding.verdict} {also} {words}".lower()


def _rows(diagnosis: Diagnosis, shown: list[Finding]) -> None:
    frame = known_columns(pd.DataFrame([_row(diagnosis, one) for one in shown]))
    label_fills = label_colors(current_theme())

    def colored(_: pd.Series) -> list[str]:
        """Return the style of each label: no field of colour where removal contradicts it."""
        return [
            "font-weight: bold"
            if one.contradicted
            else f"background-color: {label_fills[one.label]}; "
            f"color: {text_color_on(label_fills[one.label])}"
            for one in shown
        ]

    every = st.toggle(
        "All numbers",
        key="diagnosis_numbers",
        help="Adds the interval of the cost, importance, entropy, weight on the first token, and "
        "how much the text decides.",
    )
    number = st.column_config.NumberColumn
    st.dataframe(
        frame.style.apply(colored, subset=["label"]),
        hide_index=True,
        column_order=None if every else ("head", "label", "verdict", "cost", "says"),
        key="diagnosis_table",
        height=min(38 + 35 * len(shown), 460),
        on_select=partial(_take_head, "diagnosis_table", tuple(one.head for one in shown)),
        selection_mode="single-row",
        column_config={
            "head": st.column_config.TextColumn(help="Layer and head, counted from zero."),
            "label": st.column_config.TextColumn(
                help="The first label whose rule the head fits, and which kind of it. No colour: "
                "the label is contradicted, because the head is needed."
            ),
            "verdict": st.column_config.TextColumn(help="Effect of removing the head on the loss."),
            "cost": number(
                "cost of removing",
                format="%.3f",
                help="The change of the loss when the head is removed, nats per token.",
            ),
            "interval": st.column_config.TextColumn(
                "95% interval", help="Of the cost, over the texts; none with one text."
            ),
            "importance": number(
                format="%.3f",
                help="How much the loss depends on the head, by its gradient (Michel et al. 2019).",
            ),
            "entropy": number(
                format="%.2f",
                help="Normalized entropy: 0 looks at one key, 1 spreads its weight evenly.",
            ),
            "first": number(
                "weight on first", format="%.2f", help="Mean weight on the first token."
            ),
            "depends": number(
                "depends on text",
                format="%.2f",
                help="How much the text decides where the head looks, nats.",
            ),
            "says": st.column_config.TextColumn(
                "in words", width="large", help="The first sentence of its evidence."
            ),
        },
    )


def _row(diagnosis: Diagnosis, one: Finding) -> dict[str, Any]:
    cell = (one.head.layer, one.head.head)
    values = diagnosis.measures.tables[one.head.kind]
    cost = one.removal
    leaning = diagnosis.importance.get(one.head.kind)
    return {
        "head": one.head.label,
        "label": one.name,
        "verdict": one.verdict,
        "cost": np.nan if cost is None else rounded(cost.mean),
        "interval": "" if cost is None or np.isnan(cost.low) else _ends(cost),
        "importance": np.nan if leaning is None else leaning.at(*cell).mean,
        "entropy": values["normalized_entropy"].at(*cell).mean,
        "first": values["sink_first"].at(*cell).mean,
        "depends": values["content_dependence"].at(*cell).mean,
        "says": one.sentences[0] if one.sentences else "",
    }


def _ends(value: Interval) -> str:
    return f"{decimals(value.low, 3)} to {decimals(value.high, 3)}"


def _take_head(key: str, heads: tuple[Head, ...]) -> None:
    """Show the head of the row that was clicked."""
    rows = record(st.session_state.get(key), "selection").get("rows")
    row = index(first_item(rows), len(heads))
    if row is not None:
        state.choose_head(heads[row])
