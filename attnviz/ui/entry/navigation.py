"""Navigation between the pages, and what surrounds every page: style, side bar, turn, theme."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path

import streamlit as st

from attnviz.ui.components.browser_theme import require_components, watch_theme
from attnviz.ui.diagnose.diagnose_page import OWN_TEXTS, model_only
from attnviz.ui.entry.page_table import PAGES, AppPage, show_page
from attnviz.ui.explore.induction_page import repeats_text
from attnviz.ui.jobs.lost_work import lost_work_notice
from attnviz.ui.server.run_places import turn
from attnviz.ui.server.status_page import STATUS
from attnviz.ui.session import page_setup, sidebar, state
from attnviz.ui.session.opened_text import show_opened
from attnviz.ui.session.page_links import remember_pages

__all__ = ["show_app"]


def show_app(folder: Path | None = None) -> None:
    """Draw the app: the navigation, the side bar, and the page that the address names.

    Args:
        folder: the folder with a file for each page, such as `pages/` of a checkout; None draws
            the same pages without files.
    """
    page_setup.page_setup()
    pages = {one.name: _registered(one, folder) for one in PAGES}
    remember_pages(pages)
    page = st.navigation(list(pages.values()), position="top")
    name_place = st.container(key="page_name")
    require_components()
    if page.url_path == STATUS:
        page.run()  # without waiting for a turn: it shows how many wait
    else:
        with turn():
            lost_work_notice()
            show_opened()
            if page.url_path not in page_setup.WITHOUT_SIDEBAR:
                state.remember(sidebar.sidebar() if _reads_text(page.url_path) else model_only())
            page.run()
    watch_theme()
    with name_place:  # last: until it is drawn, its place would push the page down
        st.html(f"<h1>{escape(page.title)}</h1>")


def _reads_text(page: str) -> bool:
    """Return whether a page reads the text of the side bar."""
    return page not in OWN_TEXTS and (page != "induction" or repeats_text())


def _registered(page: AppPage, folder: Path | None) -> st.Page:
    """Return the page as Streamlit's navigation takes it."""
    return st.Page(
        partial(show_page, page.name) if folder is None else folder / page.file,
        title=page.title,
        icon=page.icon,
        url_path=page.name,
        default=page is PAGES[0],
        visibility="hidden" if page.hidden else "visible",
    )
