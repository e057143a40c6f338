"""Diagnoses lost by a restart of the server: the page's address has a mark while one runs.

Jobs are in the server's memory. When the server is killed and started again, the browser opens a
new session with the same address; a mark that this process has not given belongs to a lost job.
"""

from __future__ import annotations

import secrets

import streamlit as st

__all__ = ["job_is_over", "job_started", "lost_work_notice"]

RUNNING = "running"
"""Name in the address, and in the session."""

LOST = "lost_work"

_GIVEN: set[str] = set()


def job_started() -> None:
    """Remember in the address that this page waits for a job."""
    mark = secrets.token_hex(4)
    _GIVEN.add(mark)
    st.session_state[RUNNING] = mark
    st.session_state.pop(LOST, None)


def job_is_over() -> None:
    """Forget the job: it is done, has failed or was cancelled."""
    st.session_state.pop(RUNNING, None)
    st.query_params.pop(RUNNING, None)


def lost_work_notice() -> None:
    """Show that a diagnosis was lost, on whichever page the browser has come back to."""
    in_address = st.query_params.get(RUNNING)
    if in_address and in_address not in _GIVEN:
        st.session_state[LOST] = True
        st.query_params.pop(RUNNING, None)
    mark = st.session_state.get(RUNNING)
    if mark and in_address != mark:  # another page of the app has an address without it
        st.query_params[RUNNING] = mark
    with st.container():  # what follows stays in its place when the notice goes
        if st.session_state.get(LOST):
            st.warning(
                "The server was restarted while a long job was running; its result is lost. "
                "Start it again on its page.",
                icon=":material/restart_alt:",
            )
