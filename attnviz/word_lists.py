"""Words in a row, as a sentence lists them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["joined"]


def joined(words: Sequence[str]) -> str:
    """Return "a", "a and b", "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
