"""Menu that saves the files and pictures of a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.figures_and_tables import file_download
from attnviz.ui.components.picture_buttons import picture_buttons
from attnviz.ui.session.plain_text import show_plain

__all__ = ["SavedFile", "SavedPicture", "save_menu"]


@dataclass(frozen=True)
class SavedFile:
    """File of a page.

    Attributes:
        label: of its button.
        content: returns the file; called on a click.
        filename: with its ending.
        mime: type of the file.
        key: the button's.
        icon: as Streamlit names it.
        explanation: shown on hover.
    """

    label: str
    content: Callable[[], bytes]
    filename: str
    mime: str
    key: str
    icon: str = ":material/download:"
    explanation: str | None = None


@dataclass(frozen=True)
class SavedPicture:
    """Plotly chart of a page.

    Attributes:
        title: what it shows.
        chart: key of the chart, on the same page.
        filename: without an ending.
    """

    title: str
    chart: str
    filename: str


def save_menu(files: Sequence[SavedFile], pictures: Sequence[SavedPicture], *, key: str) -> None:
    """Show one button that opens the list of all that the page can save.

    Args:
        files: made on a click.
        pictures: made in the browser from what is on the screen.
        key: the menu's.
    """
    menu = st.popover("Save", icon=":material/download:", key=key)
    with menu.container(gap="xsmall"):
        for file in files:
            file_download(
                file.label,
                file.content,
                filename=file.filename,
                mime=file.mime,
                key=file.key,
                icon=file.icon,
                explanation=file.explanation,
            )
        for picture in pictures:
            show_plain(picture.title, small=True)
            picture_buttons(
                picture.chart,
                picture.filename,
                theme=current_theme(),
                key=f"{picture.chart}:saved",
            )
