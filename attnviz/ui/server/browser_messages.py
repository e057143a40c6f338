"""Messages and files that browsers may send: those that the pages need, no others.

Streamlit handles every message of its protocol, whichever controls a page shows. One of them clears
the caches of all visitors, others read the state of the git checkout or write files beside the app.
A value of the wrong type for its widget would raise an exception in every later run of the session.
`docs/reference/security.md` lists all kinds of messages.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import wraps
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.state.session_state import Serialized, SessionState, WStates
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

__all__ = ["DEPTH", "KEPT_FILES", "NEEDED", "NEEDED_OPERATIONS", "restrict"]

NEEDED = frozenset(
    {
        "rerun_script",
        "stop_script",
        "app_heartbeat",
        "file_urls_request",
        "backend_operation_request",
    }
)
"""Kinds of `BackMsg` that reach Streamlit; kinds of later versions are ignored too."""

NEEDED_OPERATIONS = frozenset({"deferred_file"})
"""Operations of a `backend_operation_request` that reach Streamlit: making a download."""

KEPT_FILES = 2
"""Uploads kept per session: the current file, and a new one that is replacing it."""

DEPTH = 16
"""Deepest nesting of a component's value; the pages' own components use 4 levels."""

_LOCK = threading.Lock()
_restricted = False


def restrict() -> None:
    """Make Streamlit ignore messages and uploads that attnviz does not need; once per process."""
    global _restricted
    with _LOCK:
        if not _restricted:
            _restrict_messages()
            _restrict_values()
            _restrict_uploads()
        _restricted = True


def _restrict_messages() -> None:
    handle = AppSession.handle_backmsg

    @wraps(handle)
    def handle_needed(self: AppSession, msg: BackMsg) -> None:
        if _needed(msg, self.id):
            handle(self, msg)

    AppSession.handle_backmsg = handle_needed  # type: ignore[method-assign]


def _needed(message: BackMsg, session: str) -> bool:
    """Return whether a message may reach Streamlit; cut its list of files to `KEPT_FILES`."""
    kind = message.WhichOneof("type")
    if kind == "file_urls_request":
        del message.file_urls_request.file_names[KEPT_FILES:]
    if kind == "backend_operation_request":
        request = message.backend_operation_request
        return request.session_id == session and request.WhichOneof("payload") in NEEDED_OPERATIONS
    return kind in NEEDED


def _restrict_values() -> None:
    """Treat a value that does not fit its widget as if the browser had sent none."""
    read, receive = WStates.__getitem__, SessionState.set_widgets_from_proto

    @wraps(read)
    def read_fitting(self: WStates, k: str) -> Any:
        metadata, state = self.widget_metadata.get(k), self.states.get(k)
        if metadata is None or not isinstance(state, Serialized):
            return read(self, k)
        # A deserializer may raise anything for a value that it was not made for.
        with suppress(Exception):
            if state.value.WhichOneof("value") in _kinds(metadata.value_type):
                value = read(self, k)
                # Streamlit has replaced the type, by None for an empty value.
                self.set_widget_metadata(metadata)
                if not metadata.value_type.startswith("json") or _depth_fits(value, DEPTH):
                    return value
        del self.states[k]
        raise KeyError(k)

    @wraps(receive)
    def receive_fitting(self: SessionState, widget_states: WidgetStates) -> None:
        receive(self, widget_states)
        # Removed here: Streamlit iterates over the values next. Those of widgets that it does not
        # know yet are read when the script has made the widget.
        for state in widget_states.widgets:
            self._new_widget_state.get(state.id)

    WStates.__getitem__ = read_fitting  # type: ignore[method-assign]
    SessionState.set_widgets_from_proto = receive_fitting  # type: ignore[method-assign]


def _kinds(value_type: str) -> tuple[str | None, ...]:
    """Return the kinds of value that fit a widget; None is an empty value."""
    # The browser sends whole numbers of a number input as int_value.
    whole = ("int_value",) if value_type == "double_value" else ()
    return (None, value_type, *whole)


def _depth_fits(value: object, depth: int) -> bool:
    """Return whether lists and dictionaries are nested no deeper than `depth`."""
    if isinstance(value, dict):
        return depth > 0 and all(_depth_fits(one, depth - 1) for one in value.values())
    if isinstance(value, (list, tuple)):
        return depth > 0 and all(_depth_fits(one, depth - 1) for one in value)
    return True


def _restrict_uploads() -> None:
    add = MemoryUploadedFileManager.add_file

    @wraps(add)
    def add_and_forget(
        self: MemoryUploadedFileManager, session_id: str, file: UploadedFileRec
    ) -> None:
        self.remove_file(session_id, file.file_id)  # a replaced file becomes the newest
        add(self, session_id, file)
        for oldest in list(self.file_storage[session_id])[:-KEPT_FILES]:
            self.remove_file(session_id, oldest)

    MemoryUploadedFileManager.add_file = add_and_forget  # type: ignore[method-assign]
