"""HTML page with which the app starts in a browser: Streamlit's, with the app's style in it.

Streamlit sends a style as an element of the page, by code that the browser loads after the first
drawing: the page was drawn twice, and its heading jumped. The same holds for the code of controls
and maps, which the browser may fetch while the server still prepares the first page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from attnviz.ui.session.page_setup import ASSETS, WITHOUT_SIDEBAR

__all__ = ["install", "start_page"]

EARLY = ("BidiComponent", "Button", "ButtonGroup", "Checkbox", "Html", "Selectbox", "TextArea")
"""Parts of Streamlit's JavaScript that the first page needs; a part that is missing is skipped."""

PLOTLY = "_stcore/bidi-components/attnviz.vendor/plotly-cartesian-4.1.1.min.js"

_SIDEBAR = """<script>{
  const root = document.documentElement;
  if (!PAGES.includes(location.pathname.split("/").pop())) {
    root.dataset.sidebar = "awaited";
    new MutationObserver((_, observer) => {
      if (!document.querySelector("[data-testid=stSidebar]")) return;
      delete root.dataset.sidebar;
      observer.disconnect();
    }).observe(document.body, { childList: true, subtree: true });
  }
}</script>"""
"""Marks a page whose side bar is still to come, so that the style can leave its place free."""

_IMPORTED = re.compile(r"""(?:from|import)\s*["']\./([\w.-]+\.js)["']""")


def install() -> None:
    """Serve `start_page` in place of Streamlit's page; call it before the server starts."""
    from starlette.responses import FileResponse, HTMLResponse, Response
    from streamlit.web.server.starlette import starlette_static_routes as routes

    make = routes.create_streamlit_static_handler

    def make_with_style(directory: str, base_url: str | None) -> Any:
        handler = make(directory, base_url)
        respond = handler.get_response

        async def get_response(path: str, scope: Any) -> Response:
            response = await respond(path, scope)
            if isinstance(response, FileResponse) and Path(response.path).name == "index.html":
                html = start_page(Path(directory))
                return HTMLResponse(html, headers={"Cache-Control": "no-cache"})
            return response

        handler.get_response = get_response  # type: ignore[method-assign]
        return handler

    routes.create_streamlit_static_handler = make_with_style


@cache
def start_page(static: Path) -> str:
    """Return Streamlit's page with the app's title, its style, and early loads of JavaScript.

    Args:
        static: the folder of Streamlit's static files.
    """
    html = (static / "index.html").read_text("utf-8")
    style = (ASSETS / "app.css").read_text("utf-8")
    code = static / "static" / "js"
    early = [f"static/js/{name}" for name in _with_imports(code, _chunks(code))]
    links = [
        f'<link rel="modulepreload" crossorigin href="./{escape(one)}">'
        for one in (*early, PLOTLY)
        if one not in html
    ]
    html = html.replace("<title>Streamlit</title>", "<title>attnviz</title>")
    html = html.replace("</head>", "\n".join((*links, "</head>")), 1)
    # In the body: Streamlit adds its rules to the head, and of equal ones the last holds.
    script = _SIDEBAR.replace("PAGES", json.dumps(WITHOUT_SIDEBAR))
    return html.replace("</body>", f"<style>{style}</style>{script}</body>", 1)


def _chunks(folder: Path) -> list[str]:
    """Return the files of the parts in `EARLY`; their names end with a digest."""
    return [file.name for part in EARLY for file in sorted(folder.glob(f"{part}.*.js"))]


def _with_imports(folder: Path, names: Iterable[str]) -> list[str]:
    """Return files with all files that they import."""
    known: list[str] = []
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in known and (folder / name).is_file():
            known.append(name)
            waiting += _IMPORTED.findall((folder / name).read_text("utf-8"))
    return sorted(known)
