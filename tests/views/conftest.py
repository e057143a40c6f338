"""Real browser without a network, for what only a browser can show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """`open_page(html, width=390)`: a page that is offline; errors and requests are in `.seen`."""
    contexts = []

    def show(html: str, *, width: int = 1280, height: int = 900) -> Page:
        context = chromium.new_context(
            offline=True, viewport={"width": width, "height": height}, accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        seen: list[str] = []
        page.on("pageerror", lambda error: seen.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (seen.append("dialog"), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(("data:", "blob:", "about:"))
                else seen.append(request.url)
            ),
        )
        page.seen = seen  # type: ignore[attr-defined]
        page.set_content(html)
        return page

    yield show
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def figure_html() -> Callable[[go.Figure], str]:
    """Return a page with one figure, as wide as the screen and no wider than its natural width."""
    from plotly.offline import get_plotlyjs

    library = get_plotlyjs()

    def html(figure: go.Figure, **config: Any) -> str:
        width = figure.layout.width
        box = f"width:{int(width)}px;max-width:100%" if width else "width:100%"
        drawn = go.Figure(figure).update_layout(width=None)
        spec = drawn.to_json().replace("<", "\\u003c")
        return (
            "<!doctype html><meta charset=utf-8><style>body{margin:16px}</style>"
            f"<script>{library}</script>"
            f'<div id="figure" style="{box};height:{int(figure.layout.height)}px"></div>'
            f"<script>const figure = {spec};"
            "Plotly.newPlot('figure', figure.data, figure.layout, {responsive: true})"
            ".then(() => { document.body.dataset.ready = 'yes'; });</script>"
        )

    return html
