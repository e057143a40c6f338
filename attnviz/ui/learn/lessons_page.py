"""Learn page: lessons on the numbers of a real model."""

from __future__ import annotations

import streamlit as st

from attnviz.lessons import Lesson, lessons
from attnviz.lessons.head_row import MOST_TOKENS
from attnviz.lessons.induction_scenes import PERIOD
from attnviz.types import Head, ModelInfo
from attnviz.ui.components.choices import choice, choices
from attnviz.ui.components.lesson_stage import HIDEABLE, lesson_stage
from attnviz.ui.learn import lesson_link as link
from attnviz.ui.learn.lesson_cache import lesson_scenes
from attnviz.ui.server.permissions import listed_models
from attnviz.ui.server.run_places import in_turn
from attnviz.ui.session.error_messages import explained
from attnviz.ui.session.model_cache import load_model

__all__ = ["lessons_page"]

PRESENT_STYLE = """<style>
[data-testid="stHeader"] { display: none; }
.stMainBlockContainer { padding-top: 1.2rem; }
</style>"""

HIDEABLE_PARTS = {
    "lessons": "menu of lessons",
    "text": "sentence",
    "head": "model and head",
    "seed": "seed of random numbers",
    "link": "link",
    "handout": "handout",
    "present": "switch to present",
    "steps": "steps",
    "sentence": "tokens of the sentence",
    "change": "what can be changed",
    "formula": "formulas",
    "misconception": "misconceptions",
    "keep": "sentences to keep",
    "reveal": "the truth",
}
"""Names for `hide=` in a link, and what they hide."""

TEXT_RULES = {
    "sentence": f"The first {MOST_TOKENS} tokens are read.",
    "phrases": "Two phrases that end with the same word, with a full stop between them.",
    "groups": "One sentence a line, all with the same word. An empty line separates its meanings.",
    "repeated": f"The model reads the first {PERIOD} tokens twice.",
}
"""What a student can write, by the form of the lesson's text."""


def lessons_page() -> None:
    """Show the page."""
    link.open_link()
    _lesson()


@st.fragment
@in_turn
@explained()
def _lesson() -> None:
    lesson = link.current_lesson()
    present = bool(st.session_state.get(link.PRESENT))
    if present:
        st.html(PRESENT_STYLE)
    with st.container(horizontal=True, vertical_alignment="center", key="lesson_tools"):
        _tools(lesson)
    model = load_model(_model_name(lesson)).info
    head = _head(lesson, model)
    sentence = _sentence(lesson)
    link.to_address()
    lesson_stage(
        lesson,
        lesson_scenes(lesson, model.name, sentence, head, st.session_state.get(link.SEED, 0)),
        st.session_state[link.PLACE],
        following=_following(lesson),
        hide=tuple(part for part in link.hidden() if part in HIDEABLE),
        present=present,
        key="lesson_stage",
        on_place=lambda place: link.open_lesson(place.lesson, place),
    )


def _following(lesson: Lesson) -> str:
    names = [one.name for one in lessons()]
    return next(iter(names[names.index(lesson.name) + 1 :]), "")


def _tools(lesson: Lesson) -> None:
    """Show the menu of lessons, sentence and head, link, and the switch to large type."""
    hidden = {*link.hidden()}
    if "lessons" not in hidden:
        choice(
            "Lesson",
            {one.name: f"{one.number} · {one.title}" for one in lessons()},
            link.LESSON,
            shape="menu",
            show_label=False,
            on_change=lambda: link.open_lesson(st.session_state[link.LESSON]),
            width=360,
        )
    if {"text", "head"} - hidden and (lesson.choose_head or lesson.choose_sentence):
        with st.popover("Sentence and head", icon=":material/edit:"):
            _choose(lesson, hidden)
    if "seed" not in hidden and lesson.random:
        with st.popover("Draw again", icon=":material/casino:"):
            _seed()
    if "link" not in hidden:
        with st.popover("Link", icon=":material/link:"):
            _share()
    if "present" not in hidden:
        st.toggle("Present", key=link.PRESENT, help="Large type, without the navigation.")


def _choose(lesson: Lesson, hidden: set[str]) -> None:
    """Show the fields for sentence, model, layer and head."""
    if "text" not in hidden and lesson.choose_sentence:
        _text(lesson)
    if "head" in hidden or not lesson.choose_head:
        return
    link.start_with(link.MODEL, _model_name(lesson))
    choice("Model", _names(lesson), link.MODEL, shape="menu", on_change=link.choose_head)
    info = load_model(_model_name(lesson)).info
    head = _head(lesson, info)
    layers, heads = info.heads[head.kind]
    left, right = st.columns(2)
    with left:
        link.start_with(link.LAYER, head.layer)
        choice("Layer", range(layers), link.LAYER, shape="menu", on_change=link.choose_head)
    with right:
        link.start_with(link.HEAD, head.head)
        choice("Head", range(heads), link.HEAD, shape="menu", on_change=link.choose_head)


def _text(lesson: Lesson) -> None:
    """Show the field for the student's text; empty, the lesson's text is read."""
    field = st.text_area if lesson.form == "groups" else st.text_input
    field(
        "Sentence" if lesson.form == "sentence" else "Text",
        key=link.sentence_key(lesson),
        placeholder=lesson.sentence,
        max_chars=link.MOST_CHARACTERS,
        persist_state="session",
        help=f"{TEXT_RULES[lesson.form]} Empty: the lesson's text.",
    )


def _seed() -> None:
    """Show the seed of everything that the lesson draws at random."""
    link.start_with(link.SEED, 0)
    st.number_input(
        "Seed",
        min_value=0,
        max_value=link.LARGEST_SEED,
        key=link.SEED,
        persist_state="session",
        help="Each seed draws other random numbers. The link keeps it.",
    )


def _share() -> None:
    """Show the link to this view, with the parts that it hides."""
    text = st.toggle("Put the sentence into the link", key="lesson_share_text")
    hide = choices(
        "Hide from the class",
        HIDEABLE_PARTS,
        "lesson_share_hide",
        first=link.hidden(),
        keep=False,
    )
    st.code(link.link(text=text, hide=tuple(hide)), language=None, wrap_lines=True)


def _sentence(lesson: Lesson) -> str:
    """Return the student's sentence, or that of the lesson."""
    given = str(st.session_state.get(link.sentence_key(lesson)) or "")
    return given if lesson.choose_sentence and given.strip() else lesson.sentence


def _names(lesson: Lesson) -> list[str]:
    """Return the models that fit a lesson; the lesson's model is the first of them."""
    listed = listed_models()
    others = [name for name in listed if name != lesson.model]
    fitting = [name for name in others if load_model(name).info.family in lesson.families]
    return [lesson.model, *fitting]


def _model_name(lesson: Lesson) -> str:
    """Return the chosen model if it fits the lesson, or the model of the lesson."""
    chosen = st.session_state.get(link.MODEL)
    if chosen in (None, lesson.model) or not lesson.choose_head or chosen not in _names(lesson):
        st.session_state.pop(link.MODEL, None)
        return lesson.model
    return str(chosen)


def _head(lesson: Lesson, model: ModelInfo) -> Head:
    """Return the chosen head if the model has it, or the head of the lesson."""
    kind = next(iter(model.heads))
    chosen = []
    for key, count, first in zip(
        (link.LAYER, link.HEAD), model.heads[kind], lesson.head, strict=True
    ):
        number = st.session_state.get(key)
        if not isinstance(number, int) or not 0 <= number < count or not lesson.choose_head:
            st.session_state.pop(key, None)
            number = min(first, count - 1)
        chosen.append(number)
    return Head(kind, *chosen)
