"""Scenes of lessons, shared by all sessions of a server and bounded in number."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from attnviz.captures.forward_pass import capture
from attnviz.lessons import Lesson, LessonInput, Scene, lessons, scenes_of
from attnviz.lessons.head_row import MOST_TOKENS
from attnviz.types import Head
from attnviz.ui.session.model_cache import load_model

__all__ = ["lesson_scenes"]


def lesson_scenes(
    lesson: Lesson, model: str, sentence: str, head: Head, seed: int
) -> Mapping[str, Scene]:
    """Return the scene of each step; cached.

    Raises:
        AttnvizError: as `attnviz.capture` and `scenes_of`.
    """
    return _scenes(lesson.name, model, sentence, head, seed)


@st.cache_resource(max_entries=128, show_spinner=False)
def _scenes(
    lesson_name: str, model: str, sentence: str, head: Head, seed: int
) -> Mapping[str, Scene]:
    lesson = next(one for one in lessons() if one.name == lesson_name)
    read = capture(load_model(model), sentence, cut=True, limit=MOST_TOKENS)
    replaced = sentence.strip() != lesson.sentence.strip()
    return scenes_of(lesson, LessonInput(read, head, load_model, seed, replaced))
