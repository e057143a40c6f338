"""Pages of the running app by name, for links from one page to another."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st
from streamlit.navigation.page import StreamlitPage

__all__ = ["page_named", "remember_pages"]

PAGES_OF_THE_APP = "pages"


def remember_pages(pages: Mapping[str, StreamlitPage]) -> None:
    """Keep the pages of the navigation in the session, by their names."""
    st.session_state[PAGES_OF_THE_APP] = pages


def page_named(name: str) -> StreamlitPage:
    """Return a page of the navigation, as `st.page_link` takes it; `heads` is Explore."""
    page: StreamlitPage = st.session_state[PAGES_OF_THE_APP][name]
    return page
