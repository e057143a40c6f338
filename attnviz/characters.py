"""Characters that a terminal or a label must not receive as they are."""

from __future__ import annotations

import unicodedata

__all__ = ["escaped", "is_hidden", "shortened"]

HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories of control characters, direction marks, halves of characters and the like."""


def is_hidden(character: str) -> bool:
    """Return whether a character has no visible form, or changes how its neighbours are shown."""
    return unicodedata.category(character) in HIDDEN


def escaped(text: str, keep: str = "") -> str:
    """Return text with every hidden character as its code point, such as ⟨1B⟩ for escape.

    Args:
        text: any text.
        keep: hidden characters that stay as they are, such as a line break.
    """
    return "".join(f"⟨{ord(one):X}⟩" if is_hidden(one) and one not in keep else one for one in text)


def shortened(text: object, limit: int = 80) -> str:
    """Return a foreign value as text for a message: escaped, and cut after `limit` characters."""
    shown = str(text)
    return escaped(shown if len(shown) <= limit else shown[: limit - 1] + "…")
