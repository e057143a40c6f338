"""HTML page of the app: style, title and early loads."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import streamlit
from streamlit.web.server.starlette import starlette_static_routes as routes

from attnviz.ui.entry.page_table import PAGES
from attnviz.ui.server.start_page import EARLY, PLOTLY, install, start_page
from attnviz.ui.session.page_setup import ASSETS, WITHOUT_SIDEBAR

STATIC = Path(streamlit.__file__).parent / "static"
VENDOR = Path(__file__).parents[2] / "attnviz" / "vendor"


class Tags(HTMLParser):
    """Tags of a page in their order, and the links of its early loads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.order: list[str] = []
        self.early: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.order.append(tag)
        named = dict(attrs)
        if named.get("rel") == "modulepreload":
            self.early.append(str(named["href"]))


def test_the_style_comes_after_the_head_so_that_its_rules_hold() -> None:
    html = start_page(STATIC)
    assert (ASSETS / "app.css").read_text("utf-8") in html
    order = Tags(html).order
    assert order.index("style", order.index("body")) > order.index("body")
    assert "<title>attnviz</title>" in html


def test_every_early_load_is_a_file_and_every_part_has_one() -> None:
    early = Tags(start_page(STATIC)).early
    parts = [one.removeprefix("./") for one in early if one != f"./{PLOTLY}"]
    assert len(parts) == len(set(parts))
    assert [one for one in parts if not (STATIC / one).is_file()] == []
    for part in EARLY:
        assert any(re.search(rf"/{part}\.[\w-]+\.js$", one) for one in parts), part
    assert (VENDOR / PLOTLY.rpartition("/")[2]).is_file()


def test_pages_without_a_side_bar_exist() -> None:
    assert set(WITHOUT_SIDEBAR) <= {one.name for one in PAGES}


def test_a_page_of_an_unknown_version_is_served_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>another page", "utf-8")
    assert start_page(tmp_path) == "<p>another page"


async def _start(handler, path: str) -> bytes:
    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "root_path": ""}
    response = await handler.get_response(path.lstrip("/") or ".", scope)
    return getattr(response, "body", b"")


def test_the_server_sends_it_for_every_page(monkeypatch) -> None:
    import anyio

    monkeypatch.setattr(
        routes, "create_streamlit_static_handler", routes.create_streamlit_static_handler
    )
    install()
    handler = routes.create_streamlit_static_handler(str(STATIC), None)
    for path in ("/", "/pair", "/index.html"):
        assert anyio.run(_start, handler, path).decode() == start_page(STATIC)
    assert b"attnviz" not in anyio.run(_start, handler, "/favicon.png")
