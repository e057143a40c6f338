"""State of a session, and the part of it that a link carries.

Model, kind, layer, head and metric are in the URL, so that a link opens the same view. The text
is not: it stays between the person and the server unless they ask for a link with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlencode

import streamlit as st

from attnviz.captures.forward_pass import Capture
from attnviz.types import Head, Kind
from attnviz.ui.session.example_texts import Example
from attnviz.ui.session.model_cache import Request

__all__ = [
    "BEGIN",
    "EDITS",
    "HEAD",
    "KIND",
    "LAYER",
    "METRIC",
    "MODEL",
    "UNITS",
    "VIEW",
    "TextKeys",
    "address_of",
    "choose_head",
    "choose_token",
    "default_head",
    "fill",
    "filled",
    "forget_view",
    "from_link",
    "pin",
    "pinned",
    "remember",
    "request",
    "share_link",
    "start_with",
    "text_keys",
    "to_link",
    "token",
]

# Keys of menus that a link remembers: the names people see in the URL.
MODEL, KIND, LAYER, HEAD, METRIC = "model", "kind", "layer", "head", "metric"
UNITS = "units"
"""Name in the address of what rows and columns stand for, tokens or words."""

BEGIN = "begin"
"""Key of the choice whether a decoder's text starts with the begin token."""

VIEW = "part"
"""Key of the choice what Explore shows of a head."""

EDITS = "edits"
"""Name in the address with the edits of the page *Edit*."""

PINNED = "pinned"
TELLING = ("induction", "same_word", "alignment")  # roles that need the text to be understood
SHARED_TEXT = {"text": "text", "pair": "pair", "target": "target"}


class TextKeys(NamedTuple):
    """Keys of one family's texts in the session; every family has separate texts."""

    text: str
    pair: str
    target: str


def text_keys(family: str) -> TextKeys:
    """Return the session's keys of one family's texts."""
    return TextKeys(f"text:{family}", f"pair:{family}", f"target:{family}")


def start_with(keys: TextKeys, example: Example) -> Example | None:
    """Return the texts that the fields begin with: those of the link, if it has any, or an example.

    None once the session has the fields. The values are for the fields' `value`, not for the
    session: after a restart of the server the browser still has what was typed, and sends it with
    its first message; a value set in the session would replace it.
    """
    if keys.text in st.session_state:
        return None
    shared = {name: st.query_params.get(name, "") for name in SHARED_TEXT}
    if not shared["text"]:
        return example
    for name in SHARED_TEXT:
        st.query_params.pop(name, None)
    return Example("", shared["text"], shared["pair"], shared["target"])


def forget_view() -> None:
    """Forget head, metric and token after a change of the model."""
    for key in (KIND, LAYER, HEAD, METRIC, "token"):
        st.session_state.pop(key, None)
        st.query_params.pop(key, None)


def fill(keys: TextKeys, example: Example) -> None:
    """Put an example's texts into the text fields."""
    st.session_state[keys.text] = example.text
    st.session_state[keys.pair] = example.pair
    st.session_state[keys.target] = example.target


def filled(keys: TextKeys, example: Example) -> bool:
    """Return whether the text fields hold this example, untouched."""
    held = tuple(st.session_state.get(key, "") for key in keys)
    return held == (example.text, example.pair, example.target)


def choose_head(head: Head) -> None:
    """Show this head (from a callback: before the menus are drawn)."""
    st.session_state[KIND] = head.kind
    st.session_state[LAYER] = head.layer
    st.session_state[HEAD] = head.head


def from_link(key: str, options: Sequence[object], default: object) -> None:
    """Set a menu, before it is drawn, to what the session remembers or the link says.

    Streamlit can bind a menu to the URL by itself, but would write its label there; links are to
    carry names that do not change with the wording of the page.

    A remembered value is set again in every run. Streamlit sends the value of a menu only when it
    was set in this run or is new to the browser; a browser that forgot a menu between two pages
    would begin with the first option and report that as the choice.
    """
    remembered = st.session_state.get(key)
    if remembered in options:
        st.session_state[key] = remembered
        return
    linked = st.query_params.get(key)
    matching = [option for option in options if str(option) == linked]
    st.session_state[key] = matching[0] if matching else default


def to_link(key: str) -> None:
    """Write the choice of a menu, after it is drawn, into the URL."""
    value = str(st.session_state[key])
    if st.query_params.get(key) != value:
        st.query_params[key] = value


def token(count: int) -> int | None:
    """Return the position of the chosen token, if the text has one there."""
    chosen: int | None = st.session_state.get("token")
    return chosen if chosen is not None and 0 <= chosen < count else None


def choose_token(position: int | None) -> None:
    """Follow this token, or none (from a callback: before the page is drawn)."""
    st.session_state["token"] = position


def pin(request: Request, head: Head) -> None:
    """Remember a head to compare others with."""
    st.session_state[PINNED] = (request, head)


def open_head(kind: Kind, shape: tuple[int, ...]) -> Head | None:
    """Return the head that is open in Explore if a stack of this kind and shape has it."""
    layer, head = st.session_state.get(LAYER), st.session_state.get(HEAD)
    if st.session_state.get(KIND, kind) != kind or layer is None or head is None:
        return None
    return Head(kind, layer, head) if layer < shape[0] and head < shape[1] else None


def pinned() -> tuple[Request, Head] | None:
    """Return the head that was pinned, with the model and text it was seen on."""
    pin: tuple[Request, Head] | None = st.session_state.get(PINNED)
    return pin


def remember(request: Request) -> None:
    """Keep what the side bar asks for, for the page that runs next."""
    st.session_state["request"] = request


def request() -> Request:
    """Return what the side bar asks for."""
    current: Request = st.session_state["request"]
    return current


def share_link(request: Request) -> None:
    """Show a link to this view; with the text only on request."""
    with st.popover("Share this view", icon=":material/link:", type="tertiary"):
        st.caption("The address bar already leads to this model, head and metric.")
        if st.toggle("Put the text into the link", key="share_text"):
            values = {
                "text": request.text,
                "pair": request.pair,
                "target": request.target,
                **{name: str(st.session_state[name])
                   for name in (MODEL, KIND, LAYER, HEAD, METRIC, UNITS)
                   if st.session_state.get(name) is not None},
                EDITS: st.query_params.get(EDITS, ""),
            }  # fmt: skip
            address = (st.context.url or "").split("?")[0]
            st.code(f"{address}?{urlencode({k: v for k, v in values.items() if v})}", language=None)


def address_of(head: Head) -> dict[str, str]:
    """Return the part of an address that names a head."""
    return {KIND: head.kind, LAYER: str(head.layer), HEAD: str(head.head)}


def default_head(capture: Capture, kind: Kind) -> Head:
    """Return the most telling head of this kind that is known, or the first head."""
    known = [one for one in capture.model.known_heads if one.head.kind == kind]
    known.sort(key=lambda one: one.role not in TELLING)  # stable: the best of each come first
    return known[0].head if known else Head(kind, 0, 0)
