"""Colour and mark of each of the doctor's labels, in both themes.

Labels of heads without use are orange, red, purple and slate, NaN is black, heads with a function
are blue or tan, and healthy ones are near the page. The colours stay apart in the common forms of
colour blindness, and a label has the same hue in both themes. The mark repeats the label in
letters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from attnviz.errors import InputError
from attnviz.findings import LABELS, Finding, Label
from attnviz.removals import removal_cost
from attnviz.views.style.theme import Theme
from attnviz.written_numbers import MINUS, signed

__all__ = ["LABEL_MARKS", "cell_lines", "label_colors", "short_mark", "text_color_on"]

_COLORS: Mapping[Theme, Mapping[Label, str]] = {
    "light": {
        "non-finite": "#000000",
        "dead": "#0f1955",
        "uniform": "#ca7b0f",
        "peaked": "#ae1400",
        "redundant": "#8278a1",
        "sink": "#8daeff",
        "specialised": "#3a41a3",
        "positional": "#dcb795",
        "healthy": "#eef1f5",
    },
    "dark": {
        "non-finite": "#000000",
        "dead": "#fffffc",
        "uniform": "#e47422",
        "peaked": "#a34836",
        "redundant": "#a1a6ff",
        "sink": "#626aff",
        "specialised": "#0027c2",
        "positional": "#ffc668",
        "healthy": "#222a37",
    },
}

LABEL_MARKS: Mapping[Label, str] = {
    "non-finite": "N",
    "dead": "D",
    "uniform": "U",
    "peaked": "P",
    "redundant": "R",
    "sink": "S",
    "specialised": "F",
    "positional": "L",
    "healthy": "",
}
"""One letter each, for cells without room: F has a function, L a fixed location."""

_WORDS: Mapping[Label, str] = {
    "non-finite": "NaN",
    "dead": "dead",
    "uniform": "even",
    "peaked": "peak",
    "redundant": "copy",
    "sink": "sink",
    "specialised": "does",
    "positional": "place",
    "healthy": "",
}

_DETAILS: Mapping[str, str] = {
    "previous token": "prev",
    "next token": "next",
    "duplicate": "copies",
    "induction": "induct",
    "alignment": "align",
    "first token": "first",
    "separators": "sep",
    "resting": "rests",
    "working": "works",
    "broken": "broken",
    "undecided": "?",
    "not tested": "",
    "own token": "self",
    "same key": "1 key",
}
"""Details of labels in the six letters that a cell has room for."""


EVEN = 0.19  # the luminance on which dark and white letters are read equally well


def label_colors(theme: Theme) -> Mapping[Label, str]:
    """Return the colour of every label, in their order.

    Raises:
        InputError: the theme is neither "light" nor "dark".
    """
    if theme not in _COLORS:
        raise InputError(f'There is no theme {theme!r}; choose "light" or "dark".')
    return {label: _COLORS[theme][label] for label in LABELS}


def text_color_on(color: str) -> str:
    """Return black or white, whichever is easier to read on a colour (#rrggbb)."""
    return "#080b10" if _luminance(color) > EVEN else "#ffffff"


def short_mark(finding: Finding, letters: int) -> tuple[str, ...]:
    """Return what a map's cell says: up to two lines of up to six letters, or one letter.

    An exclamation mark stands for a label that ablation contradicts. Not escaped.
    """
    warns = "!" if finding.contradicted else ""
    if letters < 6:
        return (LABEL_MARKS[finding.label] + warns,)
    word = _WORDS[finding.label]
    detail = _DETAILS.get(finding.detail, finding.detail[:6])
    distance = re.fullmatch(r"(\d+) tokens (before|after)", finding.detail)
    if distance:
        detail = f"{MINUS if distance[2] == 'before' else '+'}{distance[1]}"
    if finding.partner is not None:
        detail = f"H{finding.partner.head}"
    if finding.label == "specialised":
        word, detail = detail, ""
    return tuple(line for line in (word + warns, detail) if line)


def cell_lines(finding: Finding, letters: int) -> tuple[str, ...]:
    """Return the text of a map's cell: label and cost where both are known, else `short_mark`.

    Not escaped. The cost is the change of the loss without the head, nats per token.
    """
    mark, cost = short_mark(finding, letters), removal_cost(finding)
    if letters < 6 or math.isnan(cost):
        return mark
    return (*(word.rstrip("!") for word in mark[:1]), signed(cost))


def _luminance(color: str) -> float:
    """Return the relative luminance, 0 to 1, of the accessibility guidelines of the W3C."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
