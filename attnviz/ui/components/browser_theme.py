"""Theme of the page, light or dark, for pictures."""

from __future__ import annotations

import streamlit as st

from attnviz.ui.components.served_component import INSTALL, NotInstalled, ServedComponent
from attnviz.ui.session.error_messages import explained
from attnviz.views.style.theme import Theme

__all__ = ["current_theme", "require_components", "watch_theme"]

_watch = ServedComponent("theme", '<div class="theme" aria-hidden="true"></div>')


def current_theme() -> Theme:
    """Return the theme that the browser shows; light until it has reported one."""
    return "dark" if st.context.theme.type == "dark" else "light"


def require_components() -> None:
    """End the page with the command that installs attnviz where no component can be served."""
    try:
        _watch.registered()
    except NotInstalled:
        st.error(
            "The maps cannot be drawn: attnviz is not installed in this Python environment.",
            icon=":material/error:",
        )
        st.markdown("Stop the app, run this command in the folder of attnviz, and start it again:")
        st.code(INSTALL, language="bash")
        st.stop()


@explained()
def watch_theme() -> None:
    """Run the page again when the browser changes between light and dark.

    Streamlit does not: figures, which are drawn for one of the two, would keep the other's colours
    until the next click.
    """
    _watch(key="theme", on_ground_change=lambda: None)
