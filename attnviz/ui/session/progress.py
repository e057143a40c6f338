"""Progress bar of a long text."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import streamlit as st

from attnviz.findings import Progress
from attnviz.ui.server.visitors import session

__all__ = ["reading_bar", "spinner"]

GLANCE = 2.0
"""Seconds after which people want to know how long it takes."""


def spinner(text: str) -> AbstractContextManager[None]:
    """Show a spinner while the block runs; nothing in a thread without a page."""
    return st.spinner(text) if session() else nullcontext()


def reading_bar(clock: Callable[[], float] = time.monotonic) -> Callable[[int, int], None] | None:
    """Return the progress callback of `attnviz.capture`.

    It shows a bar, once the text takes longer than a glance.

    When the person has typed another text meanwhile, or has left, Streamlit ends the script at the
    next thing it shows: here, and so a pass without a waiting session ends too.
    """
    if not session():
        return None
    place = st.empty()
    begun = clock()

    def show(done: int, layers: int) -> None:
        spent = clock() - begun
        if done == layers:
            place.empty()
        elif spent > GLANCE:
            now = Progress(f"Layer {done} of {layers}", done / layers, spent)
            place.progress(now.share, now.text)

    return show
