"""Generation in the background: tokens appear while it runs, and it can be stopped."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from attnviz.experiments.generation.sampling import Sampling
from attnviz.experiments.generation.token_by_token import GenerationStep, generate_ids
from attnviz.findings import Progress
from attnviz.models import Model
from attnviz.ui.generate.written_text import WRITTEN, Written
from attnviz.ui.jobs.background_jobs import Job, Jobs
from attnviz.ui.server.run_places import giving_way
from attnviz.ui.server.visitors import connected, session
from attnviz.ui.session.plain_text import Strong, plain, show_plain

__all__ = ["begin", "finish", "running", "show_running", "writing_jobs"]

RUNNING = "writing"
"""Key of the session with the generation that runs."""

AT_ONCE = 0.8
"""Seconds that a page waits for a short generation before it shows a bar."""

# Module state, not `st.cache_resource`: clearing Streamlit's caches must not lose running jobs.
_JOBS: Jobs[int] = Jobs(max(1, os.cpu_count() or 2), connected=connected)


@dataclass(eq=False)
class Growing:
    """Generation that runs; the job's thread appends the steps.

    Attributes:
        key: of the job.
        before: the text before it.
        sampling: settings of the choice of tokens.
        steps: generated tokens so far.
    """

    key: Hashable
    before: Written
    sampling: Sampling
    steps: list[GenerationStep] = field(default_factory=list)

    @property
    def text(self) -> Written:
        """Return the text with the steps so far."""
        return self.before.with_steps(tuple(self.steps), self.sampling)


def writing_jobs() -> Jobs[int]:
    """Return the generations of all visitors."""
    return _JOBS


def begin(model: Model, before: Written, sampling: Sampling, count: int) -> None:
    """Start to generate at most `count` tokens, and wait a moment for them.

    Raises:
        AttnvizError: the text is at the model's last position.
    """
    steps = generate_ids(
        model,
        before.continued_from(),
        sampling=sampling,
        max_new_tokens=count,
        draws_before=before.draws,
    )
    growing = Growing(("writing", secrets.token_hex(8)), before, sampling)

    def work(progress: Callable[[Progress], None]) -> int:
        report, begun = giving_way(progress), time.monotonic()
        for number, step in enumerate(steps, 1):
            growing.steps.append(step)
            share = number / count
            report(Progress(f"Token {number} of at most {count}", share, time.monotonic() - begun))
        return len(growing.steps)

    job = _JOBS.start(growing.key, work, session())
    st.session_state[RUNNING] = growing
    end = time.monotonic() + AT_ONCE
    while not job.over and time.monotonic() < end:
        time.sleep(0.01)


def running() -> Growing | None:
    """Return the generation of this session that runs; None without one."""
    growing = st.session_state.get(RUNNING)
    if not isinstance(growing, Growing):
        return None
    job = _JOBS.find(growing.key)
    return growing if job is not None and not job.over else None


def finish() -> None:
    """Keep the tokens of a generation that has ended or was stopped; raise its error."""
    growing = st.session_state.get(RUNNING)
    if not isinstance(growing, Growing) or running() is not None:
        return
    del st.session_state[RUNNING]
    st.session_state[WRITTEN] = growing.text
    job = _JOBS.find(growing.key)
    _JOBS.forget(growing.key)
    if job is not None and job.error is not None:
        raise job.error


@st.fragment(run_every=0.4)
def show_running() -> None:
    """Show the text that grows, a bar, and a button that stops it."""
    growing = running()
    job: Job[Any] | None = None if growing is None else _JOBS.find(growing.key)
    if growing is None or job is None:
        st.rerun()
    awaited = job.awaited_by(session())
    if awaited:  # after a click on Stop it is not: a look would let the job go on
        job.look(session())
    progress = job.progress
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    with left:
        text = "Starting" if progress is None else plain(progress.text)
        st.progress(0.0 if progress is None else min(progress.share, 1.0), text=text)
    right.button(
        "Stop",
        icon=":material/stop_circle:",
        on_click=job.leave,
        args=(session(),),
        width="stretch",
        key="stop_writing",
        disabled=not awaited,
        help="The tokens so far stay.",
    )
    show_plain(Strong("".join(step.token.label for step in tuple(growing.steps))))
