"""Text from users inside figures: shown as it is, never interpreted.

Plotly reads a part of HTML, `%{...}` templates and `$TeX$` in every text it draws. Whatever
comes from a text or a tokenizer passes through `escape_label` first.
"""

from __future__ import annotations

import unicodedata

__all__ = ["clean_label", "display_width", "escape_label", "shorten"]

_ENTITIES = {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord("%"): "&#37;",
    ord("$"): "&#36;",
    ord("\n"): "↵",
    ord("\t"): "⇥",
}
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_ISOLATE, _POP = "\u2068", "\u2069"


def escape_label(label: str) -> str:
    """Return the label so that Plotly draws exactly its characters.

    Markup, templates and TeX become character references. Control characters, surrogates and
    the marks that reorder text become `�`, so that no label can pull its neighbours around. A
    label with right-to-left letters is wrapped in a Unicode isolate: it reads from right to
    left inside, and what follows it stays in place.
    """
    cleaned = _without_controls(label)
    escaped = cleaned.translate(_ENTITIES)
    if any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in cleaned):
        return f"{_ISOLATE}{escaped}{_POP}"
    return escaped


def clean_label(label: str) -> str:
    """Return the label with visible signs for line breaks, tabs and control characters.

    For a drawing that escapes markup itself.
    """
    return _without_controls(label).replace("\n", "↵").replace("\t", "⇥")


def _without_controls(label: str) -> str:
    """Replace control characters, surrogates and marks that reorder text by `�`."""
    return "".join(
        character
        if character in "\n\t" or not _is_control(character)
        else "\N{REPLACEMENT CHARACTER}"
        for character in label
    )


def shorten(label: str, width: int = 14) -> str:
    """Return the label cut to a width with an ellipsis; a wide (CJK, emoji) letter counts two.

    It never ends in half of a joined emoji or a letter without its accent.
    """
    if display_width(label) <= width:
        return label
    clusters = _clusters(label)
    kept = ""
    for cluster in clusters:
        if display_width(kept + cluster) > width - 1:
            break
        kept += cluster
    return f"{kept}…"


def display_width(label: str) -> int:
    """Return about how many letters wide the label is drawn; marks and joiners count zero."""
    return sum(_character_width(character) for character in label)


def _character_width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _clusters(label: str) -> list[str]:
    """Split where a cut is harmless: not before a mark, and not on either side of a joiner."""
    clusters: list[str] = []
    for character in label:
        joins = clusters and (
            _character_width(character) == 0 or clusters[-1].endswith("\N{ZERO WIDTH JOINER}")
        )
        if joins:
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def _is_control(character: str) -> bool:
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return True
    # Embeddings, overrides and isolates; the joiners inside emoji are not among them.
    return character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
