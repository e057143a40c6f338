"""Timer in the browser that runs its fragment again once, some seconds later."""

from __future__ import annotations

import time

from attnviz.ui.components.served_component import ServedComponent

__all__ = ["look_again"]

_timer = ServedComponent("timer", '<div aria-hidden="true"></div>')


def look_again(seconds: float, *, key: str) -> None:
    """Run the fragment around this call again after some seconds.

    `st.fragment(run_every=...)` would go on for as long as the page is open.
    """
    _timer(data={"seconds": seconds, "number": time.time_ns()}, key=key, on_due_change=lambda: None)
