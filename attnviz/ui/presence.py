"""Whether the browser of a session is still connected to the server."""

from __future__ import annotations

import time
from collections.abc import Callable

from streamlit.runtime import Runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

__all__ = ["connected", "still_connected"]

PATIENCE = 5.0  # seconds


def connected(session: str) -> bool:
    """Return whether a session has a page open."""
    return Runtime.exists() and Runtime.instance().is_active_session(session)


def still_connected() -> Callable[[], bool] | None:
    """Return a check whether this run's session is still connected; None outside a server.

    A session counts as connected for a few seconds more: a browser that lost its connection comes
    back within them. The check may be called from any thread.
    """
    context = get_script_run_ctx(suppress_warning=True)
    if context is None or not Runtime.exists():
        return None
    session = context.session_id
    seen = time.monotonic()

    def check() -> bool:
        nonlocal seen
        if connected(session):
            seen = time.monotonic()
        return time.monotonic() - seen < PATIENCE

    return check
