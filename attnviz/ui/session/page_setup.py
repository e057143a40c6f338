"""Name, icon and margins of the app."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from attnviz.ui.server import browser_messages

__all__ = ["ASSETS", "WITHOUT_SIDEBAR", "page_setup"]

ASSETS = Path(__file__).parents[1] / "assets"

WITHOUT_SIDEBAR = ("lessons", "numbers", "status")
"""Addresses of the pages with separate menus for model and text, or with none."""


def page_setup() -> None:
    """Set the page's title, mark and style; call it first in every run.

    The mark is a file: an icon name would be fetched. A server that `attnviz app` has not started
    learns here which messages to ignore.
    """
    browser_messages.restrict()
    st.set_page_config(page_title="attnviz", page_icon=str(ASSETS / "icon.png"), layout="wide")
    st.logo(str(ASSETS / "logo.svg"), size="large")
    st.html(ASSETS / "app.css")
