"""Numbers and names as words of a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attnviz.findings import Interval
from attnviz.word_lists import joined
from attnviz.written_numbers import change_in_nats, decimals

__all__ = ["number", "per_token", "quoted", "with_article"]


def per_token(change: Interval) -> str:
    """Return a change of the loss and its interval: "0.12 nats per token (0.080 to 0.16)"."""
    mean = f"{change_in_nats(change.mean)} nats per token"
    if math.isnan(change.low):
        return mean
    return f"{mean} ({change_in_nats(change.low)} to {change_in_nats(change.high)})"


def number(value: float) -> str:
    """Return a measure with two or three decimals."""
    if 0 < abs(value) < 0.0005:
        return "less than 0.001"
    return "0" if value == 0 else decimals(value, 3 if abs(value) < 0.01 else 2)


def with_article(name: str) -> str:
    """Return "the first token", but "[CLS]" without an article."""
    return name if name.startswith(("[", "<", "“")) else f"the {name}"


def quoted(words: Sequence[str]) -> str:
    """Return names of labels in quotation marks, joined."""
    return joined([f"“{word}”" for word in words])
