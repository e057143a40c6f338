"""How far a model is with a long text."""

from __future__ import annotations

import time
from collections.abc import Callable

import streamlit as st

from attnviz.findings import Progress

__all__ = ["reading_bar"]

GLANCE = 2.0
"""Seconds after which people want to know how long it takes."""


def reading_bar(clock: Callable[[], float] = time.monotonic) -> Callable[[int, int], None]:
    """What `attnviz.capture` is to tell its progress: a bar, once that takes longer than a glance.

    When the person has typed another text meanwhile, or has left, Streamlit ends the script at the
    next thing it shows: here, and so the pass that nobody waits for ends too.
    """
    place = st.empty()
    begun = clock()

    def told(done: int, layers: int) -> None:
        spent = clock() - begun
        if done == layers:
            place.empty()
        elif spent > GLANCE:
            now = Progress(f"Layer {done} of {layers}", done / layers, spent)
            place.progress(now.share, now.text)

    return told
