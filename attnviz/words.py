"""Sentences on a head that can be checked against the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attnviz import metrics
from attnviz.attention import AttentionStack
from attnviz.types import SINK_SHARE, Tokens
from attnviz.written_numbers import decimals, nats

__all__ = ["Look", "Numbers", "headline", "looks", "number", "numbers", "quoted", "rounded"]

PATTERNS = ("previous_token", "next_token", "self", "induction", "duplicate_token", "sink")
NAMED_FROM = 0.5  # Clark et al. 2019 call a head by its pattern from half of the weight on
LEANING_FROM = SINK_SHARE
NEARLY_UNIFORM = 0.95
QUOTED_LETTERS = 32  # longest token that a sentence shows whole
SMALLEST = 0.005  # a weight that two digits can show

ROLES = {
    "previous_token": "looks at the previous token",
    "next_token": "looks at the next token",
    "self": "looks at the token itself",
    "induction": "looks at what followed earlier copies of the token",
    "duplicate_token": "looks at earlier copies of the same token",
}
WHERE = {
    "induction": " where a token has come before",
    "duplicate_token": " where there are any",
}


@dataclass(frozen=True)
class Numbers:
    """Metric of one head, beside all other heads of its kind."""

    name: str
    label: str
    unit: str
    meaning: str
    value: float
    rank: int
    of: int


@dataclass(frozen=True)
class Look:
    """Key a token looks at, or one query that looks at it."""

    position: int
    label: str
    weight: float


def quoted(label: str) -> str:
    """Return a token for a sentence: in quotes, shortened, without the mark of a leading space."""
    shown = label.removeprefix("·") or label
    if len(shown) > QUOTED_LETTERS:
        shown = f"{shown[: QUOTED_LETTERS - 1]}…"
    return f"“{shown}”"


def rounded(value: float, decimals: int = 3) -> float:
    """Return a number with so many decimals, never a negative zero: tables would show "-0.000"."""
    return round(value, decimals) + 0.0


def number(value: float, unit: str) -> str:
    """Return a metric's value as text: two decimals, and the unit where it has one."""
    if np.isnan(value):
        return "not defined"
    return f"{nats(value) if unit == 'nats' else decimals(value)} {unit}".strip()


def headline(stack: AttentionStack, layer: int, head: int) -> str:
    """Return one sentence: the patterns with most of the head's weight, or its spread."""
    if stack.not_finite[layer, head]:
        return (
            "has NaN or infinity among its numbers: this model is broken here, and what the head "
            "looks at is not defined"
        )
    values = {name: float(metrics.per_head(name, stack)[layer, head]) for name in PATTERNS}
    patterns = sorted(
        (name for name, value in values.items() if value >= LEANING_FROM),
        key=lambda name: -values[name],
    )
    if patterns:
        best = values[patterns[0]]
        how = "mostly" if best >= NAMED_FROM else "partly"
        where = WHERE.get(patterns[0], "")
        said = (
            f"{how} {_role(stack, layer, head, patterns[0])} ({decimals(best)} of its weight on "
            f"average{where})"
        )
        if len(patterns) > 1:
            also = _role(stack, layer, head, patterns[1])
            said += f", and {also} ({decimals(values[patterns[1]])}{WHERE.get(patterns[1], '')})"
        return said
    spread = float(metrics.per_head("normalized_entropy", stack)[layer, head])
    if spread >= NEARLY_UNIFORM:
        return (
            f"spreads its weight almost evenly ({decimals(spread)} of the largest possible entropy)"
        )
    peak = float(metrics.per_head("max_weight", stack)[layer, head])
    return (
        "follows no simple pattern: each token's favourite key gets "
        f"{decimals(peak)} of its weight on average"
    )


def _role(stack: AttentionStack, layer: int, head: int, name: str) -> str:
    if name != "sink":
        return ROLES[name]
    key = int(metrics.sink_key(stack)[layer, head])
    return f"looks at one key, {quoted(stack.key_tokens.labels[key])} at position {key}"


def numbers(stack: AttentionStack, layer: int, head: int) -> tuple[Numbers, ...]:
    """Return every metric of a head.

    Ranks are among the heads of the same kind; 1 is the highest.

    A value that is not defined has rank 0.
    """
    rows = []
    for name in metrics.names():
        what = metrics.describe(name)
        table = metrics.per_head(name, stack)
        value = float(table[layer, head])
        rows.append(
            Numbers(
                name,
                what.label,
                what.unit,
                what.meaning,
                value,
                0 if np.isnan(value) else int((table > value).sum()) + 1,
                int((~np.isnan(table)).sum()),
            )
        )
    return tuple(rows)


def looks(
    weights: Float[np.ndarray, " position"], tokens: Tokens, most: int = 5
) -> tuple[Look, ...]:
    """Return the positions with the largest weights, largest first.

    Weights that round to 0.00 are left out.
    """
    order = np.argsort(-weights, kind="stable")[:most]
    return tuple(
        Look(int(place), tokens.labels[place], float(weights[place]))
        for place in order
        if weights[place] >= SMALLEST
    )
