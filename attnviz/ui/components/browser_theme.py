"""Theme of the page, light or dark, for pictures."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from attnviz.views.style.theme import Theme

__all__ = ["current_theme", "watch_theme"]

_watch = st.components.v2.component(
    "attnviz_theme",
    html='<div class="theme" aria-hidden="true"></div>',
    css=""".theme {
      height: 0;
      background-color: var(--st-background-color);
      transition: background-color 1ms;
    }""",
    js=(Path(__file__).parent / "assets" / "theme.js").read_text("utf-8"),
)


def current_theme() -> Theme:
    """Return the theme that the browser shows; light until it has reported one."""
    return "dark" if st.context.theme.type == "dark" else "light"


def watch_theme() -> None:
    """Run the page again when the browser changes between light and dark.

    Streamlit does not: figures, which are drawn for one of the two, would keep the other's colours
    until the next click.
    """
    _watch(key="theme", on_ground_change=lambda: None)
