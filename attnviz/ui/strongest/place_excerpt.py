"""Excerpt of a text around a query and the key it attends to, as HTML; every token is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np
from jaxtyping import Float

from attnviz.doctor.strongest_texts.place_words import shown_positions
from attnviz.types import Tokens
from attnviz.ui.session.plain_text import readable
from attnviz.views.style.kind_colors import kind_colors
from attnviz.written_numbers import decimals

__all__ = ["excerpt"]


def excerpt(
    query_tokens: Tokens,
    key_tokens: Tokens,
    weights: Float[np.ndarray, " key"],
    query: int,
    key: int,
    *,
    same_text: bool,
) -> str:
    """Return the tokens around a query and a key, marked by a frame, a colour and a word.

    The ground of a key shows how much weight the query gives it. In cross-attention there is a line
    of queries and a line of keys.
    """
    marks = {query: ("query",)}
    if same_text:
        marks[key] = (*marks.get(key, ()), "key")
        return _line(query_tokens, marks, weights)
    return _line(query_tokens, marks, None) + _line(key_tokens, {key: ("key",)}, weights)


def _line(
    tokens: Tokens,
    marks: Mapping[int, tuple[str, ...]],
    weights: Float[np.ndarray, " key"] | None,
) -> str:
    chips = [
        '<span class="left-out">…</span>' if place is None else _chip(tokens, place, marks, weights)
        for place in shown_positions(marks, len(tokens))
    ]
    style = f"--weight-color: {_color('weight')}"
    return f'<div class="attnviz-excerpt" style="{style}">{"".join(chips)}</div>'


def _chip(
    tokens: Tokens,
    place: int,
    marks: Mapping[int, tuple[str, ...]],
    weights: Float[np.ndarray, " key"] | None,
) -> str:
    words = marks.get(place, ())
    styles = [f"border-color: {_color(words[-1])}"] if words else []
    title = f"position {place}"
    if weights is not None and np.isfinite(weights[place]):
        styles.append(f"--weight: {round(float(np.clip(weights[place], 0, 1)), 3)}")
        title += f", weight {decimals(float(weights[place]))}"
    named = f"<small>{' and '.join(words)}</small>" if words else ""
    return (
        f'<span class="token" style="{"; ".join(styles)}" title="{title}">'
        f"{escape(readable(tokens.labels[place]))}{named}</span>"
    )


def _color(kind: str) -> str:
    """Return the colour of a kind in both themes, as CSS."""
    return f"light-dark({kind_colors('light')[kind]}, {kind_colors('dark')[kind]})"
