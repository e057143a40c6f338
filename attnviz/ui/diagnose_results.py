"""What was found: a sentence, the map of labels, the table, and the chosen head."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, get_args

import numpy as np
import pandas as pd
import streamlit as st

from attnviz.doctor import Diagnosis
from attnviz.findings import LABELS, Finding, Interval, Verdict
from attnviz.types import KIND_LABELS, Head, Kind
from attnviz.ui import state
from attnviz.ui.diagnose_files import downloads
from attnviz.ui.diagnose_head import head_pictures, head_words
from attnviz.ui.diagnose_limits import choose_limits, consequences, limits
from attnviz.ui.messages import explained, plain
from attnviz.ui.picture_buttons import picture_buttons
from attnviz.ui.sentences import sentence
from attnviz.ui.theme import current_theme
from attnviz.views import draw_label_map, label_colors, plot_config
from attnviz.views.diagnosis_words import diagnosis_sentences, head_count
from attnviz.views.label_colors import ink_on

__all__ = [
    "FRESH",
    "choose_head",
    "choose_kind",
    "first_head",
    "label_map",
    "results",
    "take_click",
]

MAP = "label_map"

FRESH = "diagnosis_fresh"
"""Set by whoever has just asked for a diagnosis: it begins with its most surprising head."""


@st.fragment
@explained()
def results(measured: Diagnosis) -> None:
    """Everything below the choice of texts; a click runs only this part again."""
    diagnosis = measured.relabelled(limits())
    if st.session_state.pop(FRESH, False):
        state.choose_head(first_head(diagnosis))
    summary(diagnosis)
    if diagnosis.thresholds != measured.thresholds:
        st.caption(
            ":material/tune: Some thresholds have been moved; see Thresholds below for what that "
            "has changed."
        )
    left, right = st.columns([5, 7], gap="large")
    with left:
        kind = choose_kind(diagnosis.model.heads, first_head(diagnosis).kind)
        head = choose_head(diagnosis, kind)
        finding = diagnosis.finding(head)
        label_map([one for one in diagnosis.findings if one.head.kind == kind], head, key=MAP)
    with right:
        head_words(diagnosis, finding)
    head_pictures(diagnosis, finding)
    st.subheader("All heads", anchor=False)
    _table(diagnosis)
    with st.expander("Thresholds", icon=":material/tune:"):
        consequences(measured, diagnosis)
        choose_limits()
    with st.container(border=True):
        st.markdown("**Report and files**")
        downloads(diagnosis)
        _origin(diagnosis)


def summary(diagnosis: Diagnosis) -> None:
    """How many heads look degenerate, how many of them matter, and what a reader has to know."""
    said = [sentence(one) for one in diagnosis_sentences(diagnosis.findings)]
    st.subheader(said[0], anchor=False)
    if said[1:]:
        st.markdown(" ".join(said[1:]))
    for note in diagnosis.notes:
        st.caption(f":material/info: {sentence(note[:1].upper() + note[1:])}.")


def choose_kind(heads: Mapping[Kind, tuple[int, int]], first: Kind) -> Kind:
    """Which attention, where a model has several."""
    kinds = list(heads)
    if len(kinds) == 1:
        return kinds[0]
    state.from_link(state.KIND, kinds, first)
    chosen = st.segmented_control(
        "Attention",
        kinds,
        format_func=str.capitalize,
        key=state.KIND,
        required=True,
        persist_state="session",
        help="; ".join(f"{kind}: {KIND_LABELS[kind]}" for kind in kinds),
    )
    state.to_link(state.KIND)
    return chosen or kinds[0]


def choose_head(diagnosis: Diagnosis, kind: Kind) -> Head:
    """Menus for layer and head: for keyboards and links; the map and the table set the same."""
    first = first_head(diagnosis, kind)
    chosen = []
    for column, name, count, default in zip(
        st.columns(2),
        (state.LAYER, state.HEAD),
        diagnosis.model.heads[kind],
        (first.layer, first.head),
        strict=True,
    ):
        options = list(range(count))
        state.from_link(name, options, default)
        chosen.append(column.selectbox(name.title(), options, key=name, persist_state="session"))
        state.to_link(name)
    return Head(kind, chosen[0], chosen[1])


def first_head(diagnosis: Diagnosis, kind: Kind | None = None) -> Head:
    """The head to begin with: the most surprising one."""
    own = [one for one in diagnosis.findings if kind is None or one.head.kind == kind]
    return min(own, key=_worth).head


def _worth(finding: Finding) -> tuple[bool, bool, int]:
    """Contradicted before degenerate before the rest, in the order of the labels."""
    return (
        finding.verdict != "contradicted",
        not finding.degenerate,
        LABELS.index(finding.label),
    )


def label_map(findings: list[Finding], selected: Head, *, key: str) -> None:
    """The map of labels; a click shows that head."""
    filename = f"attnviz-{key.replace('_', '-')}"
    st.plotly_chart(
        draw_label_map(findings, selected=selected, theme=current_theme()),
        key=key,
        theme=None,
        config=plot_config(filename),
        on_select=partial(take_click, key, selected.kind),
        selection_mode="points",
        alt=f"What each head is called; {selected.label} is chosen. The table below says the same",
    )
    picture_buttons(key, filename, theme=current_theme())


def take_click(key: str, kind: Kind) -> None:
    """Show the head whose cell was clicked in the map of this key."""
    event: Any = st.session_state.get(key)
    points = event["selection"]["points"] if event else []
    if points:
        layer, head = points[0]["customdata"][:2]
        state.choose_head(Head(kind, int(layer), int(head)))


def _table(diagnosis: Diagnosis) -> None:
    """All heads: filters above, sorting in the headings, a click on a row shows that head."""
    present = [name for name in LABELS if any(one.label == name for one in diagnosis.findings)]
    left, middle, right = st.columns([4, 4, 3], gap="medium")
    labels = left.pills(
        "Labels",
        present,
        selection_mode="multi",
        key="diagnosis_labels",
        persist_state="session",
        help="Shows only heads with one of these labels; all of them when none is chosen.",
    )
    verdicts = middle.pills(
        "Removing the head",
        [name for name in get_args(Verdict) if any(f.verdict == name for f in diagnosis.findings)],
        selection_mode="multi",
        key="diagnosis_verdicts",
        persist_state="session",
        help="What removing a head says of its label: it confirms it, contradicts it, leaves it "
        "open, or was not asked.",
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
        for one in diagnosis.findings
        if (not labels or one.label in labels)
        and (not verdicts or one.verdict in verdicts)
        and all(word in _searched(one) for word in words.lower().split())
    ]
    st.caption(
        f"{head_count(len(shown))} of {len(diagnosis.findings)}. Click a heading to sort, and the "
        "box at the left of a row to see that head above."
    )
    if shown:
        _rows(diagnosis, shown)


def _searched(finding: Finding) -> str:
    also = " ".join(finding.also)
    words = " ".join(finding.sentences)
    name = finding.head.label.replace("·", " ")
    return f"{name} {finding.name} {finding.verdict} {also} {words}".lower()


def _rows(diagnosis: Diagnosis, shown: list[Finding]) -> None:
    frame = pd.DataFrame([_row(diagnosis, one) for one in shown])
    inks = label_colors(current_theme())

    def colored(name: Any) -> str:
        color = inks[next(label for label in LABELS if str(name).startswith(label))]
        return f"background-color: {color}; color: {ink_on(color)}"

    number = st.column_config.NumberColumn
    st.dataframe(
        frame.style.map(colored, subset=["label"]),
        hide_index=True,
        key="diagnosis_table",
        height=min(38 + 35 * len(shown), 460),
        on_select=partial(take_head, "diagnosis_table", tuple(one.head for one in shown)),
        selection_mode="single-row",
        column_config={
            "head": st.column_config.TextColumn(help="Layer and head, counted from zero."),
            "label": st.column_config.TextColumn(
                help="The first label whose rule the head fits, and which kind of it."
            ),
            "verdict": st.column_config.TextColumn(
                help="What removing the head says of the label."
            ),
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
                help="How much the loss leans on the head, by its gradient (Michel et al. 2019).",
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
    cost = one.ablation.get("zero", next(iter(one.ablation.values()), None))
    leaning = diagnosis.importance.get(one.head.kind)
    return {
        "head": one.head.label,
        "label": one.name,
        "verdict": one.verdict,
        "cost": np.nan if cost is None else cost.mean,
        "interval": "" if cost is None or np.isnan(cost.low) else _ends(cost),
        "importance": np.nan if leaning is None else leaning.at(*cell).mean,
        "entropy": values["normalized_entropy"].at(*cell).mean,
        "first": values["sink_first"].at(*cell).mean,
        "depends": values["content_dependence"].at(*cell).mean,
        "says": one.sentences[0] if one.sentences else "",
    }


def _ends(value: Interval) -> str:
    return f"{value.low:.3f} to {value.high:.3f}"


def take_head(key: str, heads: tuple[Head, ...]) -> None:
    """Show the head of the row that was clicked."""
    event: Any = st.session_state.get(key)
    rows = event["selection"]["rows"] if event else []
    if rows and rows[0] < len(heads):
        state.choose_head(heads[rows[0]])


def _origin(diagnosis: Diagnosis) -> None:
    """What all of this was made from."""
    info, texts = diagnosis.model, diagnosis.texts
    loss = diagnosis.loss.mean
    st.caption(
        f"{plain(info.name)}, revision {plain(info.revision[:12])} · {texts.count} texts "
        f"({plain(texts.name)}), digest {texts.digest[:12]} · "
        + ("" if np.isnan(loss) else f"loss {loss:.3f} nats per token over {texts.tokens:,} · ")
        + f"seed {diagnosis.seed} · attnviz {plain(diagnosis.versions.get('attnviz', ''))} · "
        f"{diagnosis.seconds:.0f} s"
    )
