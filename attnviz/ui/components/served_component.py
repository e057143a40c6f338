"""Components whose JavaScript is served as files of the installed package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAPIException

from attnviz.errors import AttnvizError

__all__ = ["ASSETS", "INSTALL", "NotInstalled", "ServedComponent"]

ASSETS = Path(__file__).parent / "assets"


INSTALL = 'pip install -e ".[app]"'
"""Command that installs the package from its folder."""


class NotInstalled(AttnvizError):
    """attnviz is not installed in this environment, so that no component can be served."""


class ServedComponent:
    """Streamlit component, registered when it is first shown.

    Streamlit finds the files through the manifest of the installed package,
    `attnviz/pyproject.toml`, and reads it only while it runs: registering at import would fail
    outside of the app.
    """

    def __init__(self, name: str, html: str, folder: str = "", styles: Sequence[str] = ()) -> None:
        """Describe the component.

        Args:
            name: its name in the manifest; its files are `name.js` and, where it has a style,
                `name.css`.
            html: the content that the JavaScript fills.
            folder: the folder of its files within `ASSETS`.
            styles: further style sheets by their paths within `ASSETS`, without `.css`; they are
                loaded before that of the component, and several components can share them.
        """
        self.name = name
        self.folder = folder
        self.html = html
        self.styles = (*styles, PurePosixPath(folder, name).as_posix())
        self._lock = Lock()
        self._show: Callable[..., Any] | None = None

    def __call__(self, **options: Any) -> Any:
        """Show the component; options and result as for a component of Streamlit.

        Raises:
            NotInstalled: attnviz is not installed in this environment.
        """
        return self.registered()(**options)

    def registered(self) -> Callable[..., Any]:
        """Return the function that shows the component, registered with Streamlit.

        Raises:
            NotInstalled: attnviz is not installed in this environment.
        """
        with self._lock:
            if self._show is None:
                self._show = self._register()
        return self._show

    def _register(self) -> Callable[..., Any]:
        files = [ASSETS / f"{one}.css" for one in self.styles]
        style = "".join(one.read_text("utf-8") for one in files if one.exists())
        try:
            return st.components.v2.component(
                f"attnviz.{self.name}",
                html=self.html,
                css=style or None,
                js=PurePosixPath(self.folder, f"{self.name}.js").as_posix(),
            )
        except StreamlitAPIException as error:
            raise NotInstalled(
                "The maps cannot be drawn: attnviz is not installed in this Python environment. "
                f"Run in its folder: {INSTALL}"
            ) from error
