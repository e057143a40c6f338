"""One head's map: every cell of a short text, and a map to zoom into of one no screen can show.

A short text's map is sent whole, with its scores. Of a long one the browser has all in bins, asks
for the part it looks at, and paints both itself; one message holds one grid of at most 256 x 256
numbers. It remembers what it has been sent, so a run of the page that changes no number sends none.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from attnviz.attention import AttentionStack
from attnviz.types import Head, Tokens
from attnviz.ui.tiles import SCORED, Grid, How, Window, encode
from attnviz.views.config import safe_filename
from attnviz.views.labels import shorten
from attnviz.views.theme import Theme, palette
from attnviz.views.weights import LOG_FLOOR, Scale

__all__ = ["LABEL_WIDTH", "WHOLE_WIDTH", "pack", "zoom_map"]

LABEL_WIDTH, WHOLE_WIDTH = 16, 80
"""Letters of a token that are sent of long texts and of short ones; so a message stays small."""

_PARTS = ("grids", "layout", "paint", "view", "input", "save", "map")

_ASSETS = Path(__file__).parent / "assets"
_HTML = """<div class="zoom">
  <div class="tools">
    <div class="steps" role="group" aria-label="Zoom">
      <button type="button" data-act="in" aria-label="Zoom in">+</button>
      <button type="button" data-act="out" aria-label="Zoom out">−</button>
      <button type="button" data-act="whole">Whole map</button>
    </div>
    <span class="where"></span>
  </div>
  <div class="stage">
    <canvas tabindex="0" role="application" aria-roledescription="zoomable map"></canvas>
    <div class="tip" aria-hidden="true" hidden></div>
  </div>
  <div class="says" role="status" aria-live="polite"></div>
  <div class="pictures">
    <button type="button" data-format="svg" aria-label="Save the picture as SVG">↓ SVG</button>
    <button type="button" data-format="png" aria-label="Save the picture as PNG">↓ PNG</button>
  </div>
</div>"""

_map = st.components.v2.component(
    "attnviz_zoom_map",
    html=_HTML,
    css=(_ASSETS / "zoom_map.css").read_text("utf-8"),
    js="\n".join((_ASSETS / f"zoom_{part}.js").read_text("utf-8") for part in _PARTS),
)


def zoom_map(
    stack: AttentionStack,
    head: Head,
    cut: Callable[[Window], Grid],
    *,
    of: str,
    how: How,
    scale: Scale,
    highest: float | None,
    aside: tuple[int, ...] = (),
    selected: int | None = None,
    on_row: Callable[[int | None], None] = lambda row: None,
    filename: str,
    alt: str,
    key: str,
) -> tuple[Window, bool]:
    """Show the map; return the part of it that is on the screen, and whether a row was clicked.

    Args:
        stack: whose tokens are along the sides.
        head: which head is shown.
        cut: gives the grid of a window when the browser needs it.
        of: what the numbers depend on besides the head: two maps of the same name and head
            must be equal.
        how: what stands for a bin.
        scale: of the colours, as for `draw_weights`.
        highest: the number at the end of the linear colours, so that they mean the same wherever
            one looks; None lets them follow what is in view, and the legend says so.
        aside: the keys that are left out of the colours.
        selected: the query to frame.
        on_row: is told which query a click chose, or None, before the run that the click causes.
        filename: of the pictures, without an ending.
        alt: what the map shows, in words.
        key: the widget's name in the session.
    """
    shape = stack.shape[2:]
    text = _digest(stack.query_tokens.labels, stack.key_tokens.labels)
    identity = _digest(of, text, head.label, how, aside if scale == "hide_sinks" else ())
    seen = (st.session_state.get(key) or {}).get("view")
    view: dict[str, Any] = seen if isinstance(seen, dict) and seen.get("text") == text else {}
    region = Window.read(view.get("region"), shape) or Window.whole(shape)
    # The browser keeps the grids of the map it was last told of; what it asks is answered once.
    asked = (identity, region, view.get("turn"))
    sent = st.session_state.get(f"{key}:sent")
    has = view.get("identity") == identity and view.get("has") is True
    has_it = sent is not None and sent[0] == identity and (has or sent == asked)
    if not has_it:
        st.session_state[f"{key}:sent"] = asked
    header = {
        "text": text,
        "identity": identity,
        "shape": list(shape),
        "small": max(shape) <= SCORED,
        "highest": highest,
        "log": LOG_FLOOR if scale == "log" else None,
        "aside": list(aside) if scale == "hide_sinks" else [],
        "how": how,
        "selected": selected if selected is not None and 0 <= selected < shape[0] else None,
        "filename": safe_filename(filename),
        "alt": alt,
        "light": _colors("light"),
        "dark": _colors("dark"),
    }
    packed = pack(header, None if has_it else cut(region), stack)
    said = _map(
        data=packed,
        key=key,
        default={"view": None},
        on_view_change=lambda: None,
        on_row_change=lambda: _take_row(key, text, shape[0], on_row),
    )
    window = Window.read(view.get("window"), shape) or Window.whole(shape)
    return window, said.get("row") is not None


def _take_row(key: str, text: str, queries: int, on_row: Callable[[int | None], None]) -> None:
    """What a click said, where it was about the text that is on the screen."""
    said = (st.session_state.get(key) or {}).get("row")
    if not (isinstance(said, dict) and said.get("text") == text):
        return
    row = said.get("row")
    if row is None or (isinstance(row, int) and 0 <= row < queries):
        on_row(row)


def pack(header: dict[str, Any], found: Grid | None, stack: AttentionStack) -> bytes:
    """The length of a JSON header (uint32), the header, and the grid's codes; little-endian.

    The header's "grid" is null when nothing is sent but colours and choices.
    """
    codes = b""
    grid: dict[str, Any] | None = None
    if found is not None:
        codes, scale = encode(found)
        window = found.window
        width = LABEL_WIDTH if found.scores is None else WHOLE_WIDTH
        grid = {
            "window": window.numbers(),
            "scored": found.scores is not None,
            "steps": [found.query_step, found.key_step],
            "scale": scale,
            "highest": found.without(header["aside"]).highest,
            "queries": _labels(stack.query_tokens, window.slices[0], found.query_step, width),
            "keys": _labels(stack.key_tokens, window.slices[1], found.key_step, width),
        }
    text = json.dumps({**header, "grid": grid}, ensure_ascii=False).encode("utf-8", "replace")
    return struct.pack("<I", len(text)) + text + codes


def _labels(tokens: Tokens, part: slice, step: int, width: int) -> list[str]:
    """The first token of every bin; cut by letters too, since some letters have no width."""
    return [shorten(label, width)[:width] for label in tokens.labels[part][::step]]


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _colors(theme: Theme) -> dict[str, Any]:
    colors = palette(theme)
    return {
        "scale": [[int(stop[at : at + 2], 16) for at in (1, 3, 5)] for stop in colors.sequential],
        "page": colors.page,
        "text": colors.text,
        "muted": colors.muted,
        "line": colors.line,
        "hatch": colors.hatch,
        "accent": colors.accent,
    }
