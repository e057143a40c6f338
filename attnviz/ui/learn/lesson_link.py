"""Settings of the Learn page, and the part of them that the address carries.

The sentence is in the address only if the user puts it there.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import streamlit as st

from attnviz.lessons import Lesson, lessons
from attnviz.ui.components.lesson_stage import HIDEABLE, Place, checked_place

__all__ = [
    "HEAD",
    "HIDDEN_CONTROLS",
    "LARGEST_SEED",
    "LAYER",
    "LESSON",
    "MODEL",
    "PLACE",
    "PRESENT",
    "SEED",
    "SENTENCE",
    "address",
    "choose_head",
    "current_lesson",
    "hidden",
    "link",
    "open_lesson",
    "open_link",
    "sentence_key",
    "start_with",
    "to_address",
]

LESSON, PLACE, SENTENCE, MODEL = "lesson", "lesson_place", "lesson_sentence", "lesson_model"
LAYER, HEAD, SEED, PRESENT = "lesson_layer", "lesson_head", "lesson_seed", "lesson_present"
LINKED: Mapping[str, str] = {"model": MODEL, "layer": LAYER, "head": HEAD, "seed": SEED}
"""Names in the address, and the keys of the session."""

HIDDEN_CONTROLS = ("lessons", "text", "head", "seed", "link", "present")
"""Parts of the page around the lesson that a link can hide."""

MOST_CHARACTERS = 800
"""Characters of a text that are read."""

LARGEST_SEED = 99_999

_OPENED, _HIDE, _CHOSEN = "lesson_opened", "lesson_hide", "lesson_head_chosen"


def current_lesson() -> Lesson:
    """Return the open lesson."""
    name = st.session_state.get(LESSON)
    return next((one for one in lessons() if one.name == name), _first())


def _first() -> Lesson:
    """Return the lesson that opens without a link."""
    return lessons()[0]


def open_lesson(name: str, place: Place | None = None) -> None:
    """Open a lesson at a place; with its model and head unless others have been chosen."""
    before: Place | None = st.session_state.get(PLACE)
    if before is not None and before.lesson != name and not st.session_state.get(_CHOSEN):
        for key in (MODEL, LAYER, HEAD):
            st.session_state.pop(key, None)
    st.session_state[LESSON] = name
    st.session_state[PLACE] = place or Place(name)


def sentence_key(lesson: Lesson) -> str:
    """Return the session's key of the student's text.

    One sentence goes with the student through all lessons; texts of another form stay in theirs.
    """
    return SENTENCE if lesson.form == "sentence" else f"{SENTENCE}_{lesson.name}"


def choose_head() -> None:
    """Keep model, layer and head in all lessons from now on."""
    st.session_state[_CHOSEN] = True


def start_with(key: str, value: object) -> None:
    """Give a menu its first value through the session, where a link may have put one before."""
    if key not in st.session_state:
        st.session_state[key] = value


def open_link() -> None:
    """Read the address once per session; what is not valid in it is ignored."""
    if st.session_state.get(_OPENED):
        return
    st.session_state[_OPENED] = True
    linked = st.query_params
    values = {}
    for pair in linked.get("values", "").split(","):
        name, _, number = pair.partition(":")
        try:
            values[name] = float(number)
        except ValueError:
            continue
    wanted = {"lesson": linked.get("lesson"), "step": linked.get("step"), "values": values}
    place = checked_place(wanted) or Place(_first().name)
    open_lesson(place.lesson, place)
    for name, key in LINKED.items():
        text = linked.get(name, "")
        if name == "model" and text:
            st.session_state[key] = text
            choose_head()
        elif text.isdecimal() and int(text[:6]) <= LARGEST_SEED:
            st.session_state[key] = int(text)
    if linked.get("text"):
        st.session_state[sentence_key(current_lesson())] = linked["text"][:MOST_CHARACTERS]
        st.query_params.pop("text", None)
    st.session_state[PRESENT] = linked.get("present") == "1"
    parts = {*linked.get("hide", "").split(",")} & {*HIDEABLE, *HIDDEN_CONTROLS}
    st.session_state[_HIDE] = tuple(sorted(parts))


def hidden() -> tuple[str, ...]:
    """Return the parts that the link hides."""
    parts: tuple[str, ...] = st.session_state.get(_HIDE, ())
    return parts


def address(*, text: bool = False, hide: tuple[str, ...] | None = None) -> dict[str, str]:
    """Return what a link to this view has after the question mark.

    Args:
        text: whether the sentence is part of it.
        hide: parts that the link hides; the parts that are hidden now when None.
    """
    place: Place = st.session_state[PLACE]
    values = ",".join(f"{name}:{value:.6g}" for name, value in place.values.items())
    query = {
        "lesson": place.lesson,
        "step": place.step,
        "values": values,
        "hide": ",".join(hidden() if hide is None else hide),
        "present": "1" if st.session_state.get(PRESENT) else "",
        **{name: str(st.session_state.get(key, "")) for name, key in LINKED.items()},
    }
    if text:
        query["text"] = st.session_state.get(sentence_key(current_lesson())) or ""
    return {name: value for name, value in query.items() if value}


def to_address() -> None:
    """Make the address lead to this view, without the sentence."""
    if dict(st.query_params) != address():
        st.query_params.from_dict(address())


def link(*, text: bool, hide: tuple[str, ...]) -> str:
    """Return the link to this view."""
    start = (st.context.url or "").split("?")[0]
    return f"{start}?{urlencode(address(text=text, hide=hide))}"
