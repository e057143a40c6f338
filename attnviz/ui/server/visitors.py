"""Session (a browser tab) and visitor (a browser) of a script run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import streamlit as st
from streamlit.runtime import Runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

__all__ = ["connected", "people", "session", "still_connected", "visitor"]

COOKIE = "_streamlit_xsrf"
"""Streamlit's cookie against forged requests: random, and the same in all tabs of a browser."""

PATIENCE = 5.0
"""Seconds in which a browser that lost its connection may come back."""


_SESSIONS: set[str] = set()
_LOCK = threading.Lock()


def session() -> str:
    """Return the id of the session of this script run; empty outside of one."""
    context = get_script_run_ctx(suppress_warning=True)
    if context is None:
        return ""
    with _LOCK:
        _SESSIONS.add(context.session_id)
    return str(context.session_id)


def people() -> int:
    """Return the number of open pages that have shown something."""
    with _LOCK:
        known = list(_SESSIONS)
    gone = {one for one in known if not connected(one)}
    with _LOCK:
        _SESSIONS.difference_update(gone)
    return len(known) - len(gone)


def visitor() -> str:
    """Return an id of the browser, or of the session where the browser sends no cookie."""
    fallback = session()
    cookie = str(st.context.cookies.get(COOKIE) or "")
    parts = cookie.split("|")
    if len(parts) != 4:  # version, mask, masked token, time
        return cookie or fallback
    try:
        mask, masked = bytes.fromhex(parts[1]), bytes.fromhex(parts[2])
    except ValueError:
        return fallback
    # The mask changes whenever the cookie is set again; the token below it does not.
    return bytes(one ^ mask[at % len(mask)] for at, one in enumerate(masked)).hex() or fallback


def connected(session: str) -> bool:
    """Return whether a session has an open page."""
    return Runtime.exists() and Runtime.instance().is_active_session(session)


def still_connected() -> Callable[[], bool] | None:
    """Return a check whether this run's session is still connected; None outside a server.

    The check may be called from any thread.
    """
    name = session()
    if not name or not Runtime.exists():
        return None
    seen = time.monotonic()

    def check() -> bool:
        nonlocal seen
        if connected(name):
            seen = time.monotonic()
        return time.monotonic() - seen < PATIENCE

    return check
