"""Diagnose page: choose texts, wait with a bar and a way out, and look at what was found."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import streamlit as st

from attnviz.doctor import Diagnosis, TextSet, diagnose
from attnviz.errors import AttnvizError
from attnviz.findings import Progress, Replacement
from attnviz.ui.components.choices import choices
from attnviz.ui.diagnose.results import FRESH, results
from attnviz.ui.diagnose.text_choice import choose_texts
from attnviz.ui.server.permissions import DIAGNOSES
from attnviz.ui.server.run_places import giving_way
from attnviz.ui.server.visitors import connected, session
from attnviz.ui.session import sidebar
from attnviz.ui.session.background_jobs import Job, Jobs, Work
from attnviz.ui.session.error_messages import explained
from attnviz.ui.session.lost_work import job_is_over, job_started
from attnviz.ui.session.model_cache import Request, load_model
from attnviz.ui.session.plain_text import plain

__all__ = [
    "OWN_TEXTS",
    "Ask",
    "choose_seed",
    "diagnose_page",
    "jobs",
    "model_only",
    "wait_for",
]

Value = TypeVar("Value")

WAYS: dict[Replacement, str] = {
    "zero": "nothing",
    "mean": "its average output",
    "uniform": "a plain average of what it sees",
}
WAYS_AT_FIRST: tuple[Replacement, ...] = ("zero", "mean")


SHOWN = "diagnosis_shown"
"""Key of the session with model, key and description of the texts of the diagnosis on the page."""

OWN_TEXTS = ("diagnosis", "two_models")
"""The addresses of pages that read sets of texts, and not the one of the side bar."""


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


# Module state, not `st.cache_resource`: clearing Streamlit's caches must not lose running jobs.
_JOBS: Jobs[Any] = Jobs(max(1, (os.cpu_count() or 2) - 1), connected=connected)


def jobs() -> Jobs[Any]:
    """Return the diagnoses of all visitors; one fewer than the processors run at a time."""
    return _JOBS


def model_only() -> Request:
    """Show the side bar of these pages, with the model and no text."""
    with st.sidebar, explained():
        model = sidebar.choose_model()
    return Request(model.info.name, "")


def diagnose_page(model_name: str) -> None:
    """Show the whole page."""
    model = load_model(model_name)
    shown = st.session_state.get(SHOWN)
    finished = None if shown is None or shown[0] != model_name else jobs().find(shown[1])
    folded = finished is not None and finished.status == "done"
    with st.expander(_form_title(model_name, folded), expanded=not folded):
        st.markdown(
            "Which heads are degenerate? Every head is measured on a set of texts and given a "
            "label, with the numbers that it rests on; then each is removed in turn to see "
            "whether the model needs it."
        )
        texts = choose_texts(model.info.family)
        replacements, seed = _options()
        ask = None if texts is None else Ask(model_name, texts, replacements, seed)
        found = None if ask is None else wait_for(ask.key(), ask.work, "Diagnose")
    if ask is None:
        st.session_state.pop(SHOWN, None)
    else:  # read at the beginning of the next run, such as the one at the end of a job
        title = f"{ask.texts.name}, {len(ask.texts.texts)} texts"
        st.session_state[SHOWN] = (model_name, ask.key(), title)
    if ask is not None and found is not None:
        results(found, ask.texts)


def _form_title(model: str, folded: bool) -> str:
    """Return the heading of the form; one line that names what was measured, after a run."""
    if not folded:
        return f"Diagnose {plain(model)}"
    return f"{plain(model)} · {plain(st.session_state[SHOWN][2])} · change"


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
            help="Of the masks and of the draws behind the intervals: equal seeds give equal "
            "numbers.",
        )
    )


def _options() -> tuple[tuple[Replacement, ...], int]:
    with st.expander("Options"):
        replacements = choices(
            "Remove each head and put in its place",
            WAYS,
            "diagnose_ways",
            first=WAYS_AT_FIRST,
            explanation="This is what confirms or contradicts a label, and takes most of the time. "
            "Choose none, and labels rest on what heads look at alone.",
        )
        seed = choose_seed("diagnose_seed")
    return tuple(way for way in WAYS if way in replacements), seed


def wait_for(key: Hashable, work: Callable[[], Work[Value]], verb: str) -> Value | None:
    """Return the result of a job; show a button that starts it, or a bar while it runs.

    Args:
        key: what it depends on.
        work: makes what is to be run.
        verb: the button's.
    """
    shelf: Jobs[Value] = jobs()
    job = shelf.find(key)
    if job is not None and job.status == "done":
        job_is_over()
        return job.value
    if job is not None and not job.over and job.awaited_by(session()):
        _progress(key)
        return None
    if job is not None and job.error is not None:
        job_is_over()
        _failure(key, job.error)
    if job is not None and not job.over:
        share = 0.0 if job.progress is None else job.progress.share
        st.caption(f"The same is being done already, {share:.0%} of it: wait for it together.")
    # The same button whatever else is said: a click on one that has changed would be lost.
    if st.button(
        verb,
        type="primary",
        icon=":material/play_arrow:",
        key=f"start:{verb}",
        help="Runs in the background: you may look at other pages meanwhile.",
    ):
        if job is None and shelf.unfinished >= DIAGNOSES:
            st.warning(
                f"{shelf.unfinished} diagnoses run or wait, and this server allows {DIAGNOSES}. "
                "Try again when one of them has finished.",
                icon=":material/hourglass:",
            )
            return None
        shelf.start(key, work(), session())
        job_started()
        st.session_state[FRESH] = True
        st.rerun()
    return None


def _failure(key: Hashable, error: Exception) -> None:
    """Why there is no result; what attnviz did not foresee stays an error."""
    if isinstance(error, AttnvizError):
        st.error(plain(str(error)), icon=":material/error:")
        return
    jobs().forget(key)
    raise error


@st.fragment(run_every=1.0)
def _progress(key: Hashable) -> None:
    """Show the bar, the time left, and the way out; when it is over the page is drawn again."""
    job = jobs().find(key)
    if job is None or job.over or not job.awaited_by(session()):
        st.rerun()
    job.look(session())
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    with left:
        st.progress(0.0 if job.progress is None else job.progress.share, text=_stage(job))
    right.button(
        "Cancel",
        icon=":material/stop_circle:",
        on_click=_cancel,
        args=(job,),
        width="stretch",
        help="Stops the work, unless another visitor waits for the same.",
    )


def _cancel(job: Job[Any]) -> None:
    job.leave(session())
    job_is_over()


def _stage(job: Job[Any]) -> str:
    """Return the stage of the work and the time it still takes."""
    if job.status == "waiting" and job.progress is not None:
        return f"Paused at {job.progress.share:.0%}: another diagnosis runs for a few seconds"
    if job.status == "waiting":
        ahead = jobs().ahead(job)
        number = "1 diagnosis is" if ahead == 1 else f"{ahead} diagnoses are"
        return f"Waiting for its turn: {number} ahead" if ahead else "Waiting for its turn"
    now = job.progress
    if now is None:
        return "Starting"
    return plain(now.text[:1].upper() + now.text[1:])
