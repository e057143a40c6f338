"""Timer in the browser that runs its fragment again once, some seconds later."""

from __future__ import annotations

import time
from pathlib import Path

import streamlit as st

__all__ = ["look_again"]

_timer = st.components.v2.component(
    "attnviz_timer",
    html='<div aria-hidden="true"></div>',
    js=(Path(__file__).parent / "assets" / "timer.js").read_text("utf-8"),
)


def look_again(seconds: float, *, key: str) -> None:
    """Run the fragment around this call again after some seconds.

    `st.fragment(run_every=...)` would go on for as long as the page is open.
    """
    _timer(data={"seconds": seconds, "number": time.time_ns()}, key=key, on_due_change=lambda: None)
