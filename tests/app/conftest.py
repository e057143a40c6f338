"""The app without a browser: Streamlit's own test runner, from `app.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).parents[2]
OpenApp = Callable[..., AppTest]


@pytest.fixture
def open_app(monkeypatch: pytest.MonkeyPatch) -> OpenApp:
    """`open_app(page=..., model=..., layer=...)`: the app as a link with these would open it."""
    monkeypatch.chdir(ROOT)
    st.cache_resource.clear()

    def open_(page: str | None = None, **link: object) -> AppTest:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
        for name, value in link.items():
            app.query_params[name] = str(value)
        app.run()
        if page is not None:
            app.switch_page(page).run()
        return app

    return open_


def said(app: AppTest) -> str:
    """Everything the page says in words."""
    parts = [*app.markdown, *app.caption, *app.error, *app.warning, *app.info, *app.subheader]
    return "\n".join(str(part.value) for part in parts)
