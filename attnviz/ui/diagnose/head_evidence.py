"""Evidence for one head: sentences, numbers beside limits, pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from attnviz.doctor import Diagnosis, describe
from attnviz.doctor.report_data import entropies
from attnviz.findings import LABEL_MEANINGS, VERDICT_MEANINGS, Finding, Interval
from attnviz.types import KIND_LABELS
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.figures_and_tables import show_picture
from attnviz.ui.session import state
from attnviz.ui.session.page_links import page_named
from attnviz.ui.session.plain_text import Strong, show_plain
from attnviz.views import draw_ablation, draw_entropy_by_layer, draw_received, label_colors
from attnviz.views.diagnosis.ablation_bars import MOST_BARS
from attnviz.views.diagnosis.label_colors import text_color_on
from attnviz.views.diagnosis.received_weight import well_seen_places
from attnviz.views.report.tables import interval_text
from attnviz.written_numbers import decimals

__all__ = ["head_numbers", "head_pictures", "head_words", "measured_evidence"]


def head_words(diagnosis: Diagnosis, finding: Finding) -> None:
    """Name, label and verdict of a head, and why; one click to the head itself."""
    head = finding.head
    st.header(f"{head.label} · {KIND_LABELS[head.kind]}", anchor=False)
    _badge(finding)
    for number, said in enumerate(finding.sentences):
        show_plain(Strong(said) if number == 0 else said)
    st.page_link(
        page_named("heads"),
        label="Look at this head in Explore",
        icon=":material/grid_on:",
        query_params={state.MODEL: diagnosis.model.name, **state.address_of(head)},
        help="The same head on the text of the side bar: every weight, query and key.",
    )


def _badge(finding: Finding) -> None:
    """Show the label in its colour of the map, and the verdict."""
    color = label_colors(current_theme())[finding.label]
    filled = f"background:{color};color:{text_color_on(color)}"
    look = f"border:3px solid {color}" if finding.contradicted else filled
    st.html(
        f'<span title="{_escaped(LABEL_MEANINGS[finding.label])}" style="{look};'
        f'padding:.2rem .55rem;border-radius:.4rem;font-weight:600">{_escaped(finding.name)}</span>'
        f'<span style="padding-left:.6rem;opacity:.8">{finding.verdict}</span>'
    )
    st.caption(f"{LABEL_MEANINGS[finding.label]} {VERDICT_MEANINGS[finding.verdict]}")


def _escaped(text: str) -> str:
    for mark, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(mark, entity)
    return text


def measured_evidence(diagnosis: Diagnosis, finding: Finding) -> None:
    """Show the numbers that the label rests on, beside their limits; all numbers folded."""
    if finding.evidence:
        _limits(finding)
    with st.expander("All numbers of this head"):
        st.dataframe(head_numbers(diagnosis, finding), key="head_numbers", hide_index=True)


def _limits(finding: Finding) -> None:
    """Show each measure of the label's rule, its limit and its meaning."""
    rows = [
        {
            "what was measured": one.label,
            "value": interval_text(one.value),
            "the rule requires": one.requirement,
            "what it says": describe(one.measure).meaning,
        }
        for one in finding.evidence
    ]
    st.table(pd.DataFrame(rows).set_index("what was measured"))
    st.caption(
        "Values are means over the texts with 95% intervals. Few texts give intervals that are too "
        "narrow. The limits are under Thresholds."
    )


def head_numbers(diagnosis: Diagnosis, finding: Finding) -> pd.DataFrame:
    """Return every number of a head: loss changes, importance and measures, a row each."""
    cell = (finding.head.layer, finding.head.head)
    rows = [
        {"measure": f"Loss change, {way} replacement", "unit": "nats per token", **_row(value)}
        for way, value in finding.ablation.items()
    ]
    if finding.head.kind in diagnosis.importance:
        value = diagnosis.importance[finding.head.kind].at(*cell)
        rows.append({"measure": "Gradient importance", "unit": "nats", **_row(value)})
    for name, table in diagnosis.measures.tables[finding.head.kind].items():
        what = describe(name)
        value = table.at(*cell)
        if not math.isnan(value.mean):
            rows.append({"measure": what.label, "unit": what.unit, **_row(value)})
    return pd.DataFrame(rows)


def _row(value: Interval) -> dict[str, float]:
    return {"mean": value.mean, "low": value.low, "high": value.high, "texts": value.texts}


def head_pictures(diagnosis: Diagnosis, finding: Finding) -> None:
    """Show entropy by layer, weight by place, and what removing heads costs."""
    head, theme = finding.head, current_theme()
    same = [one for one in diagnosis.findings if one.head.kind == head.kind]
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**How spread out the heads look**")
        st.caption(
            "A ridge per layer: the normalized entropy of its heads over all texts. Below it stand "
            "the heads at their means, in the colours of their labels."
        )
        samples = entropies(diagnosis)
        if head.kind in samples:
            show_picture(
                draw_entropy_by_layer(samples[head.kind], same, selected=head, theme=theme),
                key="diagnosis_entropy",
                filename="attnviz-entropy-by-layer",
                alt=f"Normalized entropy of the heads of each layer; {head.label} is marked",
                saved_in_menu=True,
            )
    with right:
        st.markdown("**Where its weight goes**")
        st.caption(
            "Average weight each position receives, from the tokens that can see it. A sink is a "
            "tall bar. Positions that fewer than half of the tokens can see are left out."
        )
        measured = diagnosis.measures.received.get(head.kind, np.empty((0, 0, 0)))
        received = well_seen_places(measured, head.kind, diagnosis.model.family)
        if not received.size:
            st.info("The texts are too few or too short for this.", icon=":material/info:")
        else:
            names = diagnosis.names.get(head.kind)
            show_picture(
                draw_received(
                    received[head.layer, head.head],
                    received.reshape(-1, received.shape[-1]),
                    label=head.label,
                    first=names.first if names else "first",
                    theme=theme,
                ),
                key="diagnosis_received",
                filename=f"attnviz-weight-by-place-L{head.layer}H{head.head}",
                alt=f"Mean weight by place of the key, {head.label}",
                saved_in_menu=True,
            )
    st.markdown("**What removing heads costs**")
    if not finding.ablation:
        st.info("No head was removed, so there is no cost to show.", icon=":material/info:")
        return
    shown = same if len(same) <= MOST_BARS else _layer(same, finding)
    whole = "all heads" if shown is same else f"the heads of layer {head.layer}"
    st.caption(
        f"The change of the loss when a head's output is replaced, {whole}, with 95% intervals "
        "over the texts. The grey band counts as nothing. The scale is stretched around zero."
        + _agreement(diagnosis, head.kind)
    )
    show_picture(
        draw_ablation(shown, selected=head, tolerance=diagnosis.thresholds.tolerance, theme=theme),
        key="diagnosis_ablation",
        filename="attnviz-cost-of-removing",
        alt=f"What removing each head costs, in nats per token; {head.label} is marked",
        saved_in_menu=True,
    )


def _layer(findings: Sequence[Finding], chosen: Finding) -> list[Finding]:
    return [one for one in findings if one.head.layer == chosen.head.layer]


def _agreement(diagnosis: Diagnosis, kind: str) -> str:
    value = next((one for name, one in diagnosis.agreement.items() if name == kind), np.nan)
    if math.isnan(value):
        return ""
    return (
        f" Gradient importance (Michel et al. 2019) ranks the heads with a correlation of "
        f"{decimals(value)} to this."
    )
