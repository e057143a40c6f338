"""Whether the page is light or dark, for pictures that must know."""

from __future__ import annotations

import streamlit as st

from attnviz.views.theme import Theme

__all__ = ["current_theme"]


def current_theme() -> Theme:
    """The theme the browser shows; light until it has said so."""
    return "dark" if st.context.theme.type == "dark" else "light"
