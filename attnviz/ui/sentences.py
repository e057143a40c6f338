"""The doctor's sentences on a page: as they are, names of heads included."""

from __future__ import annotations

from attnviz.ui.messages import plain

__all__ = ["sentence"]


def sentence(text: str) -> str:
    """A sentence that Markdown shows as it is; `plain` would take the dot out of "L0·H1"."""
    return "·".join(plain(part) for part in text.split("·"))
