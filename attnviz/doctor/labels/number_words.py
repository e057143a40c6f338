"""Numbers and names as words of a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attnviz.findings import Interval
from attnviz.word_lists import joined

__all__ = ["nats", "number", "quoted", "short", "with_article"]


def nats(change: Interval) -> str:
    """Return a change of the loss and its interval: "0.12 nats per token (0.080 to 0.16)"."""
    mean = f"{short(change.mean)} nats per token"
    if math.isnan(change.low):
        return mean
    return f"{mean} ({short(change.low)} to {short(change.high)})"


def short(value: float) -> str:
    """Return a change of the loss with two significant digits or three decimals."""
    shown = f"{value:z.2f}" if abs(value) >= 0.1 else f"{value:z.3f}"
    return "0" if float(shown) == 0 else shown


def number(value: float) -> str:
    """Return a measure with two or three decimals."""
    if 0 < abs(value) < 0.0005:
        return "less than 0.001"
    return "0" if value == 0 else f"{value:z.3f}" if abs(value) < 0.01 else f"{value:z.2f}"


def with_article(name: str) -> str:
    """Return "the first token", but "[CLS]" without an article."""
    return name if name.startswith(("[", "<", "“")) else f"the {name}"


def quoted(words: Sequence[str]) -> str:
    """Return names of labels in quotation marks, joined."""
    return joined([f"“{word}”" for word in words])
