"""Messages as sentences: the errors and notes of attnviz begin small and end without a stop."""

from __future__ import annotations

import re

__all__ = ["capitalized", "sentence"]

# A first word of small letters alone: a name such as gpt-classroom or t5 stays as it is.
_WORD = re.compile(r"[a-z]+(?=[\s,;:.!?]|$)")


def capitalized(text: str) -> str:
    """Return a text with a capital at its beginning, unless a name stands there."""
    first = _WORD.match(text)
    return text if first is None else first[0].capitalize() + text[first.end() :]


def sentence(text: str) -> str:
    """Return a message as a sentence: with a capital and a mark at the end."""
    begun = capitalized(text)
    return begun if begun.endswith((".", "!", "?", "…")) else f"{begun}."
