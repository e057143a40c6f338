"""List of edits of a session: adding, removing, undoing, and the address that carries it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from attnviz.ui.edit.edit_links import LinkedEdits, from_code, to_code
from attnviz.ui.edit.listed_edits import ListedEdit
from attnviz.ui.session.state import EDITS

__all__ = [
    "can_undo",
    "change",
    "clear",
    "current_edits",
    "edits_to_link",
    "link_notice",
    "remove",
    "undo",
]

LIST = "edits:list"
EARLIER = "edits:earlier"
"""Key of the session with the lists before the last changes, the newest last."""

WRITTEN_CODES = "edits:codes"
"""Key of the session with the codes that it has written into the address."""

NOTICE = "edits:notice"
"""Key of the session with what could not be read in the link that was opened."""

MOST_EARLIER = 50


def current_edits() -> tuple[ListedEdit, ...]:
    """Return the edits of the session; those of the address where a link was opened.

    A code that this session has written itself is no link: the address may be a moment behind.
    """
    held: tuple[ListedEdit, ...] = st.session_state.get(LIST, ())
    code = st.query_params.get(EDITS)
    if code is None or code in st.session_state.get(WRITTEN_CODES, ()):
        return held
    linked = from_code(code)
    change(linked.edits)
    st.session_state[NOTICE] = linked
    return linked.edits


def link_notice() -> LinkedEdits:
    """Return what was left out of the link, until the list is changed."""
    notice: LinkedEdits = st.session_state.get(NOTICE, LinkedEdits(()))
    return notice


def change(edits: Sequence[ListedEdit]) -> None:
    """Replace the list; `undo` brings the list before back."""
    held: tuple[ListedEdit, ...] = st.session_state.get(LIST, ())
    if tuple(edits) != held:
        earlier = [*st.session_state.get(EARLIER, ()), held]
        st.session_state[EARLIER] = earlier[-MOST_EARLIER:]
    _keep(edits)


def _keep(edits: Sequence[ListedEdit]) -> None:
    st.session_state[LIST] = tuple(edits)
    st.session_state.pop(NOTICE, None)
    edits_to_link()


def edits_to_link() -> None:
    """Write the list into the address."""
    code = to_code(st.session_state.get(LIST, ()))
    st.session_state[WRITTEN_CODES] = {*st.session_state.get(WRITTEN_CODES, ()), code}
    if st.query_params.get(EDITS, "") == code:
        return
    if code:
        st.query_params[EDITS] = code
    else:
        st.query_params.pop(EDITS, None)


def remove(place: int) -> None:
    """Remove one edit from the list."""
    held: tuple[ListedEdit, ...] = st.session_state.get(LIST, ())
    change([edit for at, edit in enumerate(held) if at != place])


def clear() -> None:
    """Remove all edits."""
    change(())


def can_undo() -> bool:
    """Return whether there is an earlier list."""
    return bool(st.session_state.get(EARLIER))


def undo() -> None:
    """Bring back the list before the last change."""
    earlier = list(st.session_state.get(EARLIER, ()))
    if earlier:
        last = earlier.pop()
        st.session_state[EARLIER] = earlier
        _keep(last)
