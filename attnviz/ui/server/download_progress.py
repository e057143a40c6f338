"""Downloads of hub models on a page: their size first, then a bar and a way to cancel."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from attnviz.errors import ModelNotAllowed
from attnviz.findings import Progress
from attnviz.models import Download, download, needed_download
from attnviz.ui.jobs.background_jobs import Job, Jobs
from attnviz.ui.server.run_places import LOADS, aside
from attnviz.ui.server.visitors import connected, session
from attnviz.ui.session.plain_text import plain
from attnviz.written_numbers import size

__all__ = ["LARGEST_BYTES", "offer_download"]

LARGEST_BYTES = int(os.environ.get("ATTNVIZ_MAX_DOWNLOAD_MB", "4096")) * 10**6
"""Largest download of a hub model that a visitor may start."""

# Module state, not `st.cache_resource`: clearing Streamlit's caches must not lose what runs.
# One download at a time to its end: a paused one would lose its connection.
_JOBS: Jobs[None] = Jobs(1, entries=16, slice_=math.inf, connected=connected)


def offer_download(name: str, folders: tuple[Path, ...]) -> None:
    """Return if a model is on this machine; else show its size and a button, and end the page.

    Raises:
        ModelNotAllowed: the download is larger than this server allows.
        ModelError: as `needed_download`; and what has ended the download.
    """
    job = _JOBS.find(name)
    if job is not None and not job.over and job.awaited_by(session()):
        _bar(name)
        st.stop()
    with aside(LOADS, "Another model is being loaded"):  # it may wait for the network
        needed = needed_download(name, allowed_folders=folders)
    if needed is None:
        return
    if needed.bytes > LARGEST_BYTES:
        raise ModelNotAllowed(
            f"'{name}' is a download of {size(needed.bytes)}, and this server allows "
            f"{size(LARGEST_BYTES)}; choose a smaller model, or set "
            "ATTNVIZ_MAX_DOWNLOAD_MB where the server is started"
        )
    if job is not None and job.error is not None:
        _JOBS.forget(name)
        raise job.error
    st.info(
        f"{plain(name)} is not on this server yet: {size(needed.bytes)} are downloaded from the "
        f"hub. This server allows up to {size(LARGEST_BYTES)}.",
        icon=":material/download:",
    )
    if st.button(f"Download {size(needed.bytes)}", type="primary", key="download_model"):
        _JOBS.start(name, lambda report: _run(needed, report), session())
        st.rerun()
    st.stop()


def _run(needed: Download, report: Callable[[Progress], None]) -> None:
    begun = last = time.monotonic()

    def report_bytes(came: int, of: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > 0.2:
            last = now
            text = f"{size(came)} of {size(of)}"
            report(Progress(text, came / max(of, 1), now - begun))

    download(needed, report_bytes)


@st.fragment(run_every=1.0)
def _bar(name: str) -> None:
    """Show how far the download is; when it is over the page is drawn again."""
    job = _JOBS.find(name)
    if job is None or job.over or not job.awaited_by(session()):
        st.rerun()
    job.look(session())
    now = job.progress
    text = "Waiting for another download" if job.status == "waiting" else "Downloading"
    st.progress(0.0 if now is None else now.share, text=plain(now.text) if now else text)
    st.button("Cancel", icon=":material/stop_circle:", key="cancel_download", on_click=_cancel,
              args=(job,))  # fmt: skip


def _cancel(job: Job[None]) -> None:
    job.leave(session())
