"""Results of a diagnosis: headline, map of labels, chosen head, table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from attnviz.doctor import Diagnosis, TextSet
from attnviz.findings import Finding
from attnviz.removals import by_surprise
from attnviz.sentences import sentence
from attnviz.types import Head, Kind
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.diagnose.downloads import save_diagnosis
from attnviz.ui.diagnose.head_evidence import head_pictures, head_words, measured_evidence
from attnviz.ui.diagnose.head_example import head_example, show_example
from attnviz.ui.diagnose.head_table import head_table
from attnviz.ui.diagnose.pruning_lists import pruning_lists
from attnviz.ui.diagnose.threshold_sliders import (
    choose_limits,
    close_calls,
    consequences,
    limits,
)
from attnviz.ui.explore.head_picker import choose_kind, menus, show_heads
from attnviz.ui.jobs.long_jobs import FRESH
from attnviz.ui.server.run_places import in_turn
from attnviz.ui.session import state
from attnviz.ui.session.error_messages import explained
from attnviz.ui.session.plain_text import plain, show_plain
from attnviz.views import draw_label_map
from attnviz.views.report.summary_sentences import diagnosis_sentences, text_count
from attnviz.written_numbers import duration, nats

__all__ = ["broken_sentences", "choose_head", "first_head", "label_map", "results"]

MAP = "label_map"

CLOSE = 12  # close calls that are listed


@st.fragment
@in_turn
@explained()
def results(measured: Diagnosis, texts: TextSet) -> None:
    """Show everything below the choice of texts; a click runs only this part again."""
    diagnosis = measured.relabelled(limits())
    if st.session_state.pop(FRESH, False):
        state.choose_head(first_head(diagnosis))
    words, menu = st.columns([6, 1], gap="medium")
    with words:
        summary(diagnosis)
    with st.container():  # what follows stays in its place when the note goes
        if diagnosis.thresholds != measured.thresholds:
            st.caption(":material/tune: Some thresholds have been moved; see Thresholds below.")
    left, right = st.columns([5, 7], gap="large")
    with left:
        kind = choose_kind(list(diagnosis.model.heads), first_head(diagnosis).kind)
        head = choose_head(diagnosis, kind)
        finding = diagnosis.finding(head)
        label_map([one for one in diagnosis.findings if one.head.kind == kind], head, key=MAP)
        with st.expander("Thresholds", icon=":material/tune:", key="thresholds"):
            consequences(measured, diagnosis)
            choose_limits()
            _close_calls(diagnosis)
    with menu:
        save_diagnosis(diagnosis, finding, MAP)
    with right:
        head_words(diagnosis, finding)
    _evidence(diagnosis, finding, texts)
    head_pictures(diagnosis, finding)
    pruning_lists(diagnosis)
    st.header("All heads", anchor=False)
    head_table(diagnosis)
    _origin(diagnosis)


def _evidence(diagnosis: Diagnosis, finding: Finding, texts: TextSet) -> None:
    """Show the measures of a head beside its weights on one of the texts."""
    example = head_example(diagnosis, finding, texts)
    if example is None:
        measured_evidence(diagnosis, finding)
        return
    left, right = st.columns([5, 7], gap="large")
    with left:
        show_example(example, diagnosis.model.family)
    with right:
        measured_evidence(diagnosis, finding)


def _close_calls(diagnosis: Diagnosis) -> None:
    """List the heads whose interval contains a limit."""
    close = close_calls(diagnosis)
    if not close:
        st.caption("No close calls: no interval contains its limit.")
        return
    st.caption(f"Close calls: {len(close)}. Other texts could change these labels.")
    for line in close[:CLOSE]:
        show_plain(line, small=True)
    if len(close) > CLOSE:
        st.caption(f"And {len(close) - CLOSE} more.")


def summary(diagnosis: Diagnosis) -> None:
    """Show the headline and the notes."""
    broken_sentences(list(map(sentence, diagnosis.broken)))
    first, *others = diagnosis_sentences(diagnosis.findings)
    st.header(plain(first), anchor=False)
    if others:
        show_plain(" ".join(others))
    for note in (one for one in diagnosis.notes if one not in diagnosis.broken):
        show_plain(sentence(note), small=True)


def broken_sentences(sentences: Sequence[str]) -> None:
    """Show sentences on NaN and infinity as errors."""
    for one in sentences:
        st.error(plain(one), icon=":material/gpp_bad:")


def choose_head(diagnosis: Diagnosis, kind: Kind) -> Head:
    """Show menus for layer and head: for keyboards and links; map and table set the same."""
    return menus(diagnosis.model, kind, first_head(diagnosis, kind))


def first_head(diagnosis: Diagnosis, kind: Kind | None = None) -> Head:
    """Return the head to begin with: the most surprising one."""
    among = (one for one in diagnosis.findings if kind is None or one.head.kind == kind)
    return by_surprise(among)[0].head


def label_map(findings: list[Finding], selected: Head, *, key: str) -> None:
    """Show the map of labels; a click shows that head."""
    show_heads(
        draw_label_map(findings, selected=selected, theme=current_theme()),
        selected.kind,
        key=key,
        filename=f"attnviz-{key.replace('_', '-')}",
        alt=f"What each head is called; {selected.label} is chosen. The table below says the same",
    )


def _origin(diagnosis: Diagnosis) -> None:
    """Show model, texts, seed and version of the diagnosis."""
    info, texts = diagnosis.model, diagnosis.texts
    loss = diagnosis.loss.mean
    show_plain(
        f"{info.name}, revision {info.revision[:12]} · {text_count(texts.count)} "
        f"({texts.name}), digest {texts.digest[:12]} · "
        + (
            ""
            if np.isnan(loss)
            else f"loss {nats(loss)} nats per token over {texts.tokens:,} tokens · "
        )
        + f"seed {diagnosis.seed} · attnviz {diagnosis.versions.get('attnviz', '')} · "
        + duration(diagnosis.seconds),
        small=True,
    )
