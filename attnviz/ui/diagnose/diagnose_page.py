"""Diagnose page: choose texts, wait with a bar and a way out, and look at what was found."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import streamlit as st

from attnviz.doctor import Diagnosis, TextSet, diagnose
from attnviz.findings import Progress, Replacement
from attnviz.ui.components.choices import choices
from attnviz.ui.diagnose.folding_form import FoldingForm
from attnviz.ui.diagnose.results import results
from attnviz.ui.diagnose.text_choice import choose_texts
from attnviz.ui.jobs.background_jobs import Work
from attnviz.ui.jobs.long_jobs import wait_for
from attnviz.ui.server.run_places import giving_way
from attnviz.ui.session import sidebar
from attnviz.ui.session.error_messages import explained
from attnviz.ui.session.model_cache import Request, load_model
from attnviz.views.report.summary_sentences import text_count

__all__ = [
    "OWN_TEXTS",
    "Ask",
    "choose_seed",
    "diagnose_page",
    "model_only",
]

WAYS: dict[Replacement, str] = {
    "zero": "nothing",
    "mean": "its average output",
    "uniform": "a plain average of what it sees",
}
WAYS_AT_FIRST: tuple[Replacement, ...] = ("zero", "mean")


SHOWN = "diagnosis_shown"
"""Key of the session with model, key and description of the texts of the diagnosis on the page."""

OWN_TEXTS = ("diagnosis", "patch", "two_models")
"""The addresses of pages that read other texts than the one of the side bar."""


@dataclass(frozen=True)
class Ask:
    """Settings of a diagnosis: everything that the result depends on."""

    model: str
    texts: TextSet
    replacements: tuple[Replacement, ...]
    seed: int

    def key(self) -> Hashable:
        """Return the key of the result: model, revision, texts, options."""
        revision = load_model(self.model).info.revision
        texts = (self.texts.name, self.texts.digest, self.texts.notes)
        return ("diagnosis", self.model, revision, texts, self.replacements, self.seed)

    def work(self) -> Work[Diagnosis]:
        """Return the diagnosis as a function for a background job."""
        model = load_model(self.model)

        def run(progress: Callable[[Progress], None]) -> Diagnosis:
            return diagnose(
                model,
                self.texts,
                ablate=bool(self.replacements),
                replacements=self.replacements,
                seed=self.seed,
                progress=giving_way(progress),
            )

        return run


def model_only() -> Request:
    """Show the side bar of these pages, with the model and no text."""
    with st.sidebar, explained():
        model = sidebar.choose_model()
    return Request(model.info.name, "")


def diagnose_page(model_name: str) -> None:
    """Show the whole page."""
    model = load_model(model_name)
    form = FoldingForm(SHOWN, model_name, f"Diagnose {model_name}")
    with form.expander():
        st.markdown(
            "Which heads are degenerate? Every head is measured on a set of texts and gets a "
            "label. Then each head is removed in turn, to see whether the model needs it."
        )
        texts = choose_texts(model.info.family)
        replacements, seed = _options()
        ask = None if texts is None else Ask(model_name, texts, replacements, seed)
        diagnosis = None if ask is None else wait_for(ask.key(), ask.work, "Diagnose")
    if ask is None:
        form.keep(None, "", done=False)
        return
    title = f"{ask.texts.name}, {text_count(len(ask.texts.texts))}"
    form.keep(ask.key(), title, done=diagnosis is not None)
    if diagnosis is not None:
        results(diagnosis, ask.texts)


def choose_seed(key: str) -> int:
    """Show the seed of the random draws, and return it."""
    return int(
        st.number_input(
            "Seed",
            0,
            1_000_000,
            0,
            key=key,
            persist_state="session",
            help="Start of all random draws: equal seeds give equal numbers.",
        )
    )


def _options() -> tuple[tuple[Replacement, ...], int]:
    with st.expander("Options"):
        replacements = choices(
            "Remove each head and put in its place",
            WAYS,
            "diagnose_ways",
            first=WAYS_AT_FIRST,
            explanation="The loss without the head shows whether the model needs it. This takes "
            "most of the time. With none chosen, no head is removed.",
        )
        seed = choose_seed("diagnose_seed")
    return tuple(way for way in WAYS if way in replacements), seed
