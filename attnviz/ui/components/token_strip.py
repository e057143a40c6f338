"""Tokens as chips: point at one and see where it looks, or who looks at it.

The weights travel once, as two bytes each; after that every answer comes from the browser itself,
and Python hears only which token was chosen.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from attnviz.errors import CaptureError, InputError
from attnviz.types import Tokens
from attnviz.ui.components.checked_reports import index, record
from attnviz.ui.components.served_component import ServedComponent
from attnviz.views.style.theme import Theme, palette

__all__ = ["CELL_LIMIT", "TOKEN_LIMIT", "fits", "pack", "part", "token_strip"]

TOKEN_LIMIT = 512
"""Most tokens along one side."""

CELL_LIMIT = 140_000
"""Most weights: two bytes each, and no click sends a page more than 300 kB."""

_HTML = """<div class="strip">
  <div class="tools" role="group" aria-label="direction"></div>
  <div class="lists"></div>
  <div class="says" aria-live="polite"></div>
</div>"""

_strip = ServedComponent("token_strip", _HTML)


def token_strip(
    query_tokens: Tokens,
    key_tokens: Tokens,
    weights: Float[np.ndarray, "query key"],
    *,
    selected: int | None = None,
    first: tuple[int, int] = (0, 0),
    whole: bool = True,
    text: str = "",
    unit: Literal["token", "word"] = "token",
    key: str,
    query_title: str = "looks",
    key_title: str = "is looked at",
    on_change: Callable[[], None] = lambda: None,
) -> int | None:
    """Show the tokens and return the query that is chosen: by a click just now, or `selected`.

    The page keeps the choice: it stores what is returned and passes it as `selected` next time.
    Equal token lists make one strip with a switch for the direction; the two lists of
    cross-attention make two strips, and the direction follows from the one pointed at.

    Args:
        query_tokens: the tokens that look.
        key_tokens: the tokens looked at.
        weights: after softmax; NaN where masked, which is drawn unlike a weight of 0.
        selected: the query the page has chosen.
        first: which positions of the text the first query and the first key stand for.
        whole: whether the tokens are the whole text, or the strip has to say that they are not.
        unit: what a chip stands for.
        text: `labels_digest` of the maps that mark the same tokens; empty without such maps.
        key: the widget's name in the session.
        query_title: written above the queries of cross-attention.
        key_title: written above its keys.
        on_change: called before the run that a click causes.

    Returns:
        The position of the chosen query; None when there is none, or a click has let it go.

    Raises:
        CaptureError: the weights do not match the tokens.
        InputError: it is more than `fits`.
    """
    packed, identity = pack(
        query_tokens,
        key_tokens,
        weights,
        selected=selected,
        first=first,
        whole=whole,
        text=text,
        unit=unit,
        query_title=query_title,
        key_title=key_title,
    )
    clicked = record(_strip(data=packed, key=key, on_clicked_change=on_change), "clicked")
    # A click on tokens that are no longer on the screen is ignored.
    if clicked.get("tokens") != identity:
        return selected
    if clicked.get("index") is None:
        return None
    chosen = index(clicked["index"], len(query_tokens))
    return selected if chosen is None else chosen


def fits(visible: Bool[np.ndarray, "query key"]) -> bool:
    """Return whether a strip can show all of this.

    A causal text may be longer than one read both ways.
    """
    return max(visible.shape, default=0) <= TOKEN_LIMIT and _sent(visible) <= CELL_LIMIT


def part(tokens: Tokens, stretch: slice) -> Tokens:
    """Return a stretch of neighbouring tokens."""
    segments = None if tokens.segments is None else tokens.segments[stretch]
    return Tokens(tokens.ids[stretch], tokens.labels[stretch], tokens.special[stretch], segments)


def pack(
    query_tokens: Tokens,
    key_tokens: Tokens,
    weights: Float[np.ndarray, "query key"],
    *,
    selected: int | None,
    first: tuple[int, int] = (0, 0),
    whole: bool = True,
    text: str = "",
    unit: Literal["token", "word"] = "token",
    query_title: str = "",
    key_title: str = "",
) -> tuple[bytes, str]:
    """Return what the browser needs, and a name for this pair of token lists.

    The bytes are the length of a JSON header (uint32), the header, and numbers of two bytes: for
    every query the first visible key and the one after the last, and then the weights of these
    stretches: 65534 is 1, and 65535 is masked. All little-endian.
    """
    shape = (len(query_tokens), len(key_tokens))
    if weights.shape != shape:
        raise CaptureError(f"weights has shape {weights.shape}; expected (query, key) = {shape}.")
    visible = np.isfinite(weights)
    if not fits(visible):
        raise InputError(
            f"The strip shows up to {TOKEN_LIMIT} tokens and {CELL_LIMIT:,} weights, and got "
            f"{max(shape)} tokens and {_sent(visible):,} weights; pass a part of them."
        )
    if selected is not None and not 0 <= selected < shape[0]:
        raise InputError(f"There is no query {selected}; there are {shape[0]}.")
    lists = [list(query_tokens.labels), list(key_tokens.labels)]
    identity = hashlib.sha256(json.dumps([*lists, first]).encode()).hexdigest()[:16]
    header = {
        "queries": lists[0],
        "keys": lists[1],
        "same": lists[0] == lists[1] and first[0] == first[1],
        "first": first,
        "whole": whole,
        "identity": identity,
        "text": text,
        "selected": selected,
        "query_title": query_title,
        "key_title": key_title,
        "unit": unit,
        "hint": f"Point at a {unit}, or click to keep it.",
        "light": _colors("light"),
        "dark": _colors("dark"),
    }
    scaled = np.rint(np.clip(np.nan_to_num(weights), 0, 1) * 65534).astype("<u2")
    scaled[~visible] = 65535
    stretches = _stretches(visible)
    keys = np.arange(shape[1])
    sent = scaled[(stretches[:, :1] <= keys) & (keys < stretches[:, 1:])]
    encoded = json.dumps(header, allow_nan=False).encode()
    body = stretches.astype("<u2").tobytes() + sent.tobytes()
    return struct.pack("<I", len(encoded)) + encoded + body, identity


def _stretches(visible: Bool[np.ndarray, "query key"]) -> Int[np.ndarray, "query 2"]:
    """Return the first visible key of every query, and the one after the last."""
    queries, keys = visible.shape
    if not keys:
        return np.zeros((queries, 2), dtype=int)
    last = np.where(visible.any(axis=1), keys - visible[:, ::-1].argmax(axis=1), 0)
    return np.stack([visible.argmax(axis=1), last], axis=1)


def _sent(visible: Bool[np.ndarray, "query key"]) -> int:
    """Return how many weights travel."""
    return int(np.diff(_stretches(visible)).sum())


def _colors(theme: Theme) -> dict[str, Any]:
    """Return the heatmap's colours as numbers, and those of letters and of the selection."""
    colors = palette(theme)
    return {
        "scale": [[int(stop[at : at + 2], 16) for at in (1, 3, 5)] for stop in colors.sequential],
        "text": colors.text,
        "page": colors.page,
        "accent": colors.accent,
        "muted": colors.muted,
    }
