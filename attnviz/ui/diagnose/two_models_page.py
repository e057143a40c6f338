"""Two models page: the same diagnosis of a model and of a model made from it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from attnviz.doctor import Comparison, TextSet, compare
from attnviz.findings import Finding, Progress
from attnviz.models import fine_tuned
from attnviz.removals import removal_cost
from attnviz.sentences import sentence
from attnviz.types import Head
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.choices import choice
from attnviz.ui.components.figures_and_tables import known_columns
from attnviz.ui.diagnose.diagnose_page import choose_seed
from attnviz.ui.diagnose.downloads import save_comparison
from attnviz.ui.diagnose.folding_form import FoldingForm
from attnviz.ui.diagnose.results import (
    broken_sentences,
    choose_head,
    first_head,
    label_map,
)
from attnviz.ui.diagnose.text_choice import choose_texts
from attnviz.ui.diagnose.threshold_sliders import limits
from attnviz.ui.explore.head_picker import choose_kind, show_heads
from attnviz.ui.jobs.background_jobs import Work
from attnviz.ui.jobs.long_jobs import FRESH, wait_for
from attnviz.ui.server.permissions import listed_models, takes_any_model
from attnviz.ui.server.run_places import giving_way, in_turn
from attnviz.ui.session import state
from attnviz.ui.session.error_messages import explained
from attnviz.ui.session.model_cache import load_model
from attnviz.ui.session.plain_text import Strong, plain, show_plain
from attnviz.views import draw_head_map
from attnviz.views.report.comparison_report import DIVERGENCE
from attnviz.views.report.summary_sentences import text_count
from attnviz.words import rounded

__all__ = ["two_models_page"]

SECOND = "second"
SHOWN = "two_models_shown"

BEFORE, AFTER, DIVERGENCES = "map_before", "map_after", "divergence_map"  # keys of the maps


@dataclass(frozen=True)
class Pair:
    """Two models to compare, with everything that the result depends on."""

    first: str
    second: str
    texts: TextSet
    ablate: bool
    seed: int

    def key(self) -> Hashable:
        """Return the key of the result: models, revisions, texts, options."""
        revisions = [load_model(name).info.revision for name in (self.first, self.second)]
        texts = (self.texts.name, self.texts.digest, self.texts.notes)
        return ("two", self.first, self.second, *revisions, texts, self.ablate, self.seed)

    def work(self) -> Work[Comparison]:
        """Return the comparison as a function for a background job."""
        first, second = load_model(self.first), load_model(self.second)

        def run(progress: Callable[[Progress], None]) -> Comparison:
            return compare(
                first,
                second,
                self.texts,
                ablate=self.ablate,
                seed=self.seed,
                progress=giving_way(progress),
            )

        return run


def two_models_page(first: str) -> None:
    """Show the Two models page."""
    model = load_model(first)
    form = FoldingForm(SHOWN, first, f"Compare {first} with what was made from it")
    with form.expander():
        st.markdown(
            "What has fine-tuning done to each head? Both models are diagnosed on the same texts, "
            "and their heads are compared one by one. Before: the model of the side bar. After: "
            "the model below."
        )
        second = _second(first)
        texts = choose_texts(model.info.family)
        with st.expander("Options"):
            ablate = st.toggle(
                "Remove each head",
                value=True,
                key="two_ablate",
                persist_state="session",
                help="Shows which heads each model needs. This takes most of the time.",
            )
            seed = choose_seed("two_seed")
        pair = None if texts is None else Pair(first, second, texts, ablate, seed)
        comparison = None
        if first == second:
            st.info(
                "Both are the same model: nothing can differ. Choose a second model that was made "
                "from the first.",
                icon=":material/info:",
            )
        elif pair is not None:
            comparison = wait_for(pair.key(), pair.work, "Compare")
    if pair is None or first == second:
        form.keep(None, "", done=False)
        return
    title = f"{second} · {pair.texts.name}, {text_count(len(pair.texts.texts))}"
    form.keep(pair.key(), title, done=comparison is not None)
    if comparison is not None:
        _results(comparison)


def _second(first: str) -> str:
    """Show the menu of the second model, and return its name; the name is in the link."""
    names = listed_models()
    linked = st.session_state.get(SECOND) or st.query_params.get(SECOND)
    names += [one for one in dict.fromkeys((first, linked)) if one and one not in names]
    tuned = fine_tuned(first)
    state.from_link(SECOND, names, tuned if tuned in names else first)
    chosen = choice(
        "Second model",
        names,
        SECOND,
        shape="menu",
        new_names=takes_any_model(),
        explanation="What was fine-tuned from the model of the side bar: a name on the Hugging "
        "Face hub (org/model) or a folder of this server. It must have the same layers, heads and "
        "tokenizer.",
    )
    load_model(chosen)
    state.to_link(SECOND)
    return chosen


@st.fragment
@in_turn
@explained()
def _results(measured: Comparison) -> None:
    """Show the results; a click runs only this part again."""
    comparison = measured.relabelled(limits())
    if st.session_state.pop(FRESH, False):
        state.choose_head(_furthest(comparison))
    words, menu = st.columns([6, 1], gap="medium")
    with words:
        _summary(comparison)
    with menu:
        save_comparison(comparison, BEFORE, AFTER, DIVERGENCES)
    before, after = comparison.first, comparison.second
    kind = choose_kind(list(before.model.heads), first_head(before).kind)
    head = choose_head(before, kind)
    names = (f"Before: {before.model.name}", f"After: {after.model.name}")
    for column, name, diagnosis, key in zip(
        st.columns(2, gap="large"), names, (before, after), (BEFORE, AFTER), strict=True
    ):
        with column:
            show_plain(Strong(name))
            label_map([one for one in diagnosis.findings if one.head.kind == kind], head, key=key)
            _said(diagnosis.finding(head))
    st.markdown("**How far each head has moved**")
    st.caption(
        "Jensen-Shannon divergence of its rows in the two models, nats: 0 looks at the same keys, "
        "0.69 at no common key. A click shows that head."
    )
    with st.columns([5, 7], gap="large")[0]:
        _divergence_map(comparison, head)
    _table(comparison)  # its columns need the whole width


def _furthest(comparison: Comparison) -> Head:
    """Return the changed head that moved most; of all heads if no label has changed."""
    pool = [one.head for one in comparison.changes] or [
        one.head for one in comparison.first.findings
    ]
    return max(pool, key=comparison.moved)


def _summary(comparison: Comparison) -> None:
    broken_sentences(comparison.broken)
    said = [one for one in comparison.sentences if one not in comparison.broken]
    if comparison.loss_sentence:
        show_plain(Strong(said.pop(0)))
    st.header(plain(said[0]), anchor=False)
    changes = {one.sentence for one in comparison.changes}
    places = [number for number, one in enumerate(said) if one in changes]
    first = places[0] if places else len(said)  # the counts, then single heads: a paragraph each
    for part in (said[1:first], said[first:]):
        if part:
            show_plain(" ".join(part))
    for note in comparison.notes:
        show_plain(sentence(note), small=True)


def _said(finding: Finding) -> None:
    """Show label and sentences of the chosen head in one model."""
    show_plain(Strong(f"{finding.head.label}: {finding.name}"), f" · {finding.verdict}")
    for evidence in finding.sentences:
        show_plain(evidence)


def _divergence_map(comparison: Comparison, head: Head) -> None:
    show_heads(
        draw_head_map(
            comparison.divergence[head.kind].mean,
            metric=DIVERGENCE,
            selected=head,
            kind=head.kind,
            theme=current_theme(),
        ),
        head.kind,
        key=DIVERGENCES,
        filename="attnviz-divergence",
        alt=f"Divergence of every head between the two models; {head.label} is chosen",
    )


def _table(comparison: Comparison) -> None:
    """Show every head with both labels; those whose label changed, or all."""
    st.markdown("**Labels of each head**")
    changed = st.toggle(
        "Only changed heads",
        value=bool(comparison.changes or comparison.harmful),
        key="two_changed",
        persist_state="session",
        help="Off: all heads, the one that moved furthest first.",
    )
    harmful = {one.head for _, one in comparison.harmful}
    rows = [
        _row(comparison, before, after)
        for before, after in zip(comparison.first.findings, comparison.second.findings, strict=True)
        if not changed or before.name != after.name or after.head in harmful
    ]
    if rows:
        number = st.column_config.NumberColumn
        st.dataframe(
            known_columns(pd.DataFrame(rows)).sort_values("divergence", ascending=False),
            hide_index=True,
            key="two_table",
            column_config={
                "change": st.column_config.TextColumn(
                    help="Clear: no interval contains its limit. Close call: another choice of "
                    "texts could give the same label. Harmful now: the loss falls without it, in "
                    "the second model only."
                ),
                "divergence": number(format="%.3f", help="How far its rows have moved, nats."),
                "entropy shift": number(
                    format="%+.3f",
                    help="Entropy after minus entropy before, nats: above 0 it spreads more.",
                ),
                "cost before": number(
                    format="%.3f",
                    help="Change of the loss without it in the first model, nats.",
                ),
                "cost after": number(
                    format="%.3f",
                    help="Change of the loss without it in the second model, nats.",
                ),
            },
        )
    else:
        st.caption("No label has changed.")


def _row(comparison: Comparison, before: Finding, after: Finding) -> dict[str, object]:
    head = before.head
    cell = (head.layer, head.head)
    changed = {one.head for one in comparison.changes}
    close = {one.head for one in comparison.close_changes}
    label = "clear" if head in changed else "close call" if head in close else ""
    harmful = any(head == one.head for _, one in comparison.harmful)
    return {
        "head": head.label,
        "before": before.name,
        "after": after.name,
        "change": ", ".join(filter(None, (label, "harmful now" if harmful else ""))),
        "divergence": comparison.divergence[head.kind].at(*cell).mean,
        "entropy shift": rounded(comparison.entropy_shift[head.kind].at(*cell).mean),
        "cost before": rounded(removal_cost(before)),
        "cost after": rounded(removal_cost(after)),
    }
