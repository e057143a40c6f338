"""Button that opens a lesson from another page."""

from __future__ import annotations

import streamlit as st

from attnviz.lessons import lessons
from attnviz.ui.learn.lesson_link import LESSON, open_lesson
from attnviz.ui.session.page_links import page_named

__all__ = ["lesson_button"]


def lesson_button(name: str) -> None:
    """Show a button that opens a lesson at its beginning.

    Args:
        name: of the lesson.
    """
    title = next(one.title for one in lessons() if one.name == name)
    if st.button(
        f"Lesson: {title}", icon=":material/school:", type="tertiary", key=f"open_lesson_{name}"
    ):
        open_lesson(name)
        st.switch_page(page_named("lessons"), query_params={LESSON: name})
