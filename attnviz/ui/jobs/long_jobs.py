"""Long jobs of a page: the button that starts one, its bar and time left, and the way out."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import streamlit as st

from attnviz.errors import AttnvizError
from attnviz.sentences import sentence
from attnviz.ui.jobs.background_jobs import Job, Jobs, Work
from attnviz.ui.jobs.lost_work import job_is_over, job_started
from attnviz.ui.server.permissions import DIAGNOSES
from attnviz.ui.server.visitors import connected, session
from attnviz.ui.session.plain_text import plain
from attnviz.written_numbers import percent

__all__ = ["FRESH", "long_jobs", "wait_for"]

Value = TypeVar("Value")

FRESH = "diagnosis_fresh"
"""Key of the session: a job was started, and its result has not been shown yet."""

# Module state, not `st.cache_resource`: clearing Streamlit's caches must not lose running jobs.
_JOBS: Jobs[Any] = Jobs(max(1, (os.cpu_count() or 2) - 1), connected=connected)


def long_jobs() -> Jobs[Any]:
    """Return the long jobs of all visitors; one fewer than the processors run at a time."""
    return _JOBS


def wait_for(key: Hashable, work: Callable[[], Work[Value]], verb: str) -> Value | None:
    """Return the result of a job; show a button that starts it, or a bar while it runs.

    Args:
        key: what it depends on.
        work: makes what is to be run.
        verb: the button's.
    """
    shelf: Jobs[Value] = long_jobs()
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
        done = percent(share, 0)
        st.caption(f"The same is being done already, {done} of it: wait for it together.")
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
                f"{shelf.unfinished} long jobs run or wait, and this server allows {DIAGNOSES}. "
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
    """Show why there is no result; raise errors that are not of attnviz's family."""
    if isinstance(error, AttnvizError):
        st.error(plain(sentence(str(error))), icon=":material/error:")
        return
    long_jobs().forget(key)
    raise error


@st.fragment(run_every=1.0)
def _progress(key: Hashable) -> None:
    """Show the bar, the time left, and the way out; when it is over the page is drawn again."""
    job = long_jobs().find(key)
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
        return f"Paused at {percent(job.progress.share, 0)}: another job runs for a few seconds"
    if job.status == "waiting":
        ahead = long_jobs().ahead(job)
        number = "1 job is" if ahead == 1 else f"{ahead} jobs are"
        return f"Waiting for its turn: {number} ahead" if ahead else "Waiting for its turn"
    now = job.progress
    if now is None:
        return "Starting"
    # A name before a colon stays as it is: "french-classroom: removing heads".
    begins = now.text if ": " in now.text else now.text[:1].upper() + now.text[1:]
    return plain(begins)
