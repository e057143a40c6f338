"""Check of the phrases of a TOML file: all that are needed, no other, with their placeholders."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Any

__all__ = ["checked_phrases"]


def checked_phrases(
    given: Mapping[str, Any], needed: Mapping[str, frozenset[str]]
) -> Mapping[str, str]:
    """Return the phrases of a file.

    Raises:
        ValueError: a phrase is missing, not needed, empty or no text; or its placeholders are
            others than those of `needed`.
    """
    missing, others = needed.keys() - given.keys(), given.keys() - needed.keys()
    if missing:
        raise ValueError(f"add to its phrases: {', '.join(sorted(missing))}")
    if others:
        raise ValueError(f"remove from its phrases: {', '.join(sorted(others))}")
    for key, text in given.items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"the phrase {key} needs a text, not {text!r}")
        try:
            names = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
        except ValueError as error:
            raise ValueError(f"the phrase {key}: {error}") from error
        if names != needed[key]:
            right = " ".join(sorted(f"{{{name}}}" for name in needed[key])) or "no placeholder"
            raise ValueError(f"the phrase {key} needs {right}, not: {text}")
    return dict(given)
