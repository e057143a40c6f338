"""Component that draws every map of the app with Plotly.js, in the browser.

A small map is sent whole. Of a long one the browser has an overview in bins, requests the part that
is zoomed into, and gets at most 256 x 256 numbers per message. The browser keeps the grids it has
got: a run of the page that changes no number sends none.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import streamlit as st
from jaxtyping import UInt8

from attnviz.attention.stack.map_tiles import SCORED, Grid, How, Window, encode, encode_signed
from attnviz.ui.components.checked_reports import index, record
from attnviz.ui.components.served_component import ServedComponent
from attnviz.views.maps.map_specification import LABEL_RULE, MapSpecification, style
from attnviz.views.style.plotly_config import safe_filename
from attnviz.views.style.safe_labels import clean_label, shorten

__all__ = [
    "CELL_WORDS",
    "LABEL_WIDTH",
    "WHOLE_WIDTH",
    "MapEvents",
    "labels_digest",
    "map_fields",
    "pack",
    "plotly_map",
]

LABEL_WIDTH, WHOLE_WIDTH = 16, 80
"""Characters of a label that are sent of long maps and of small ones: bounds the message."""

CELL_WORDS = {
    "query": "query",
    "key": "key",
    "broken": "NaN or infinity: no weight is defined here",
    "set_aside": "set aside: only sinks here",
    "mean_of_bin": "mean {value} of this bin",
    "largest_of_bin": "largest {value} of this bin",
    "score_and_rank": "score {score} · rank {rank}",
}
"""Words with which the browser reads out a cell, by the names that `map_grids.js` has for them."""

Selects = Literal["row", "cell", "none"]

_HTML = """<div class="map">
  <div class="zoom-tools" hidden>
    <div class="steps" role="group" aria-label="Zoom">
      <button type="button" data-zoom="in" aria-label="Zoom in">+</button>
      <button type="button" data-zoom="out" aria-label="Zoom out">−</button>
      <button type="button" data-zoom="whole">Whole map</button>
    </div>
    <span class="where"></span>
  </div>
  <div class="stage">
    <div class="plot" aria-hidden="true"></div>
    <div class="row-band" hidden></div>
    <div class="column-band" hidden></div>
    <div class="row-name" aria-hidden="true" hidden></div>
    <div class="column-name" aria-hidden="true" hidden></div>
    <div class="surface" tabindex="0" role="application" aria-roledescription="map"></div>
  </div>
  <div class="says" role="status" aria-live="polite"></div>
  <div class="pictures">
    <button type="button" data-format="svg" aria-label="Save the picture as SVG">↓ SVG</button>
    <button type="button" data-format="png" aria-label="Save the picture as PNG">↓ PNG</button>
    <button type="button" data-fullscreen aria-label="Full screen"
      >⛶<span class="wide"> Full screen</span></button>
  </div>
</div>"""

_component = ServedComponent("map", _HTML)


@dataclass(frozen=True)
class MapEvents:
    """Events that the browser reported in this run.

    Attributes:
        window: the part of the map on the screen.
        clicked: whether a row or cell was selected, or the selection ended, just now.
    """

    window: Window
    clicked: bool


def plotly_map(
    specification: MapSpecification,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    numbers: Callable[[Window], Grid],
    *,
    depends_on: tuple[object, ...],
    how: How = "max",
    aside: tuple[int, ...] = (),
    selected: tuple[int, int | None] | None = None,
    selects: Selects = "row",
    on_cell: Callable[[int | None, int | None], None] = lambda row, column: None,
    tallest: int = 900,
    bare: bool = False,
    pictures: UInt8[np.ndarray, "row column down across"] | None = None,
    filename: str,
    alt: str,
    key: str,
) -> MapEvents:
    """Show a map and return what the browser reported.

    Args:
        specification: colours, captions and marks.
        row_labels: one per row, raw.
        column_labels: one per column, raw.
        numbers: returns the grid of a window; called when the browser needs it.
        depends_on: everything the numbers depend on; equal values mean equal numbers.
        how: what stands for a bin of a long map.
        aside: columns drawn in grey and left out of the colours.
        selected: selected row and column; the column is None where whole rows are selected.
        selects: what a click selects.
        on_cell: called with the row and column that were clicked, or with None and None when the
            selection ends, before the run that the click causes.
        tallest: largest height of the plot in pixels.
        bare: leave out colour bar and captions.
        pictures: for every cell a small picture that is drawn in place of its number's colour;
            codes as `small_patterns` returns them. `depends_on` covers them.
        filename: of saved pictures, without ending.
        alt: description for screen readers.
        key: the widget's key.
    """
    shape = (len(row_labels), len(column_labels))
    text = labels_digest(row_labels, column_labels)
    identity = _digest(*(repr(one) for one in depends_on), text, how, aside)
    view = record(st.session_state.get(key), "view")
    if view.get("text") != text:
        view = {}
    window = Window.read(view.get("window"), shape) or Window.whole(shape)
    region = Window.read(view.get("region"), shape) or Window.whole(shape)
    # One answer per request: the turn is a random number that the browser adds to each.
    turn = view.get("turn")
    request = (identity, region, turn if isinstance(turn, (int, float)) else None)
    sent = st.session_state.get(f"{key}:sent")
    has = view.get("identity") == identity and view.get("has") is True
    complete = sent is not None and sent[0] == identity and (has or sent == request)
    if not complete:
        st.session_state[f"{key}:sent"] = request
    header = {
        "text": text,
        "identity": identity,
        "shape": list(shape),
        "window": window.numbers(),
        "small": max(shape) <= SCORED,
        **map_fields(specification),
        "aside": list(aside),
        "how": how,
        "selected": None if selected is None or not 0 <= selected[0] < shape[0] else selected,
        "selects": selects,
        "tallest": tallest,
        "bare": bare,
        "filename": safe_filename(filename),
        "alt": alt,
    }
    grid = None if complete else numbers(region)
    reply = _component(
        data=pack(header, grid, row_labels, column_labels, pictures),
        key=key,
        default={"view": None},
        on_view_change=lambda: None,
        on_cell_change=lambda: _take_cell(key, text, shape, on_cell),
    )
    return MapEvents(window, reply.get("cell") is not None)


def map_fields(specification: MapSpecification) -> dict[str, Any]:
    """Return the fields of a message that say how the browser draws a map."""
    return {
        "numbered": specification.numbered,
        "value": specification.value,
        "unit": specification.unit,
        "caption": specification.caption,
        "missing": specification.missing,
        "maskedCaption": f"▨ {specification.missing_caption}",
        "corner": specification.corner,
        "signed": specification.colors == "diverging",
        "lowest": specification.low,
        "highest": specification.high,
        "log": specification.log_floor,
        "gap": specification.gap,
        "numbers": specification.numbers,
        "marks": [{"offset": one.offset, "name": one.name} for one in specification.diagonals],
        "labelRule": LABEL_RULE,
        "words": CELL_WORDS,
        "styles": {theme: style(specification, theme) for theme in ("light", "dark")},
    }


def _take_cell(
    key: str,
    text: str,
    shape: tuple[int, int],
    on_cell: Callable[[int | None, int | None], None],
) -> None:
    """Check a reported cell and pass it on; anything else from the browser is ignored."""
    reported = record(st.session_state.get(key), "cell")
    if reported.get("text") != text:
        return
    row, column = reported.get("row"), reported.get("column")
    if row is None and column is None:
        on_cell(None, None)
        return
    row, column = index(row, shape[0]), index(column, shape[1])
    if row is not None and column is not None:
        on_cell(row, column)


def pack(
    header: dict[str, Any],
    tiles: Grid | None,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    pictures: UInt8[np.ndarray, "row column down across"] | None = None,
) -> bytes:
    """Return the length of a JSON header (uint32), the header, and the numbers; little-endian.

    The header's "grid" is null when only colours or choices have changed. Pictures come after the
    numbers: one byte each, all of the first row of pictures from top to bottom, then the next.
    """
    codes = b""
    grid: dict[str, Any] | None = None
    if tiles is not None:
        codes, scale = encode_signed(tiles) if header["signed"] else encode(tiles)
        rows, columns = tiles.window.slices
        width = WHOLE_WIDTH if header["small"] else LABEL_WIDTH
        if tiles.scores is not None:
            encoding = "f4f4"
        elif header["signed"]:
            encoding = "i2"
        else:
            encoding = "u2"
        grid = {
            "window": tiles.window.numbers(),
            "steps": [tiles.query_step, tiles.key_step],
            "encoding": encoding,
            "scale": scale,
            "highest": tiles.without(header["aside"]).highest,
            "rowLabels": _labels(row_labels[rows], tiles.query_step, width),
            "columnLabels": _labels(column_labels[columns], tiles.key_step, width),
            "pictures": None if pictures is None else pictures.shape[2:],
        }
        if pictures is not None:
            codes += pictures.transpose(0, 2, 1, 3).tobytes()
    text = json.dumps({**header, "grid": grid}, ensure_ascii=False, allow_nan=False)
    encoded = text.encode("utf-8", "replace")
    return struct.pack("<I", len(encoded)) + encoded + codes


def _labels(labels: Sequence[str], step: int, width: int) -> list[str]:
    """Return the first label of every bin, cut to a width: some characters have no width."""
    return [clean_label(shorten(label, width)[:width]) for label in labels[::step]]


def labels_digest(row_labels: Sequence[str], column_labels: Sequence[str]) -> str:
    """Return a name for a pair of label lists; pictures with the same name mark tokens together."""
    return _digest(row_labels, column_labels)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
