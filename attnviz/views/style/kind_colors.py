"""Colours of queries, keys, values, scores, weights and outputs, the same on all pages."""

from __future__ import annotations

from attnviz.views.style.theme import Theme, palette

__all__ = ["KINDS", "kind_colors"]

KINDS = ("weight", "query", "key", "value", "score", "output")
"""Kinds in the order of the categorical colours."""


def kind_colors(theme: Theme) -> dict[str, str]:
    """Return the colour of query, key, value, score, weight and output, as hex strings."""
    return dict(zip(KINDS, palette(theme).categorical, strict=True))
