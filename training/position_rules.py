"""Scores of rules that know positions alone, on the data that a head is measured with.

A head that "looks at the same word" deserves its name only as far as it beats the best of these
rules on the same rows: always the key d places away, always the k-th key, or, between two texts of
different lengths, the key on the diagonal, moved by d places.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

Wanted = Bool[np.ndarray, "query key"]


@dataclass(frozen=True)
class Rule:
    """Best rule of position alone: the share of rows in which it is right, and its name."""

    score: float
    label: str


def best_rule(tables: Sequence[Wanted], *, diagonal: int | None = None) -> Rule:
    """Return the rule that is right in the largest share of the rows that have a right key.

    Args:
        tables: per text, which keys are right for which query; queries without one do not count.
        diagonal: for texts of two lengths, the number of keys before the first that the diagonal
            may reach; None leaves out the rules along a diagonal.

    Raises:
        ValueError: no query of any table has a right key.
    """
    rows = sum(int(table.any(axis=1).sum()) for table in tables)
    if rows == 0:
        raise ValueError("no query has a right key: there is nothing to compare a rule with")
    longest = max(max(table.shape) for table in tables)
    away = {offset: _hits(tables, "offset", offset) for offset in range(1 - longest, longest)}
    first = {place: _hits(tables, "key", place) for place in range(longest)}
    distance, place = max(away, key=lambda d: away[d]), max(first, key=lambda k: first[k])
    rules = [
        (away[distance], f"{distance:+d} tokens away"),
        (first[place], f"always key {place}"),
    ]
    if diagonal is not None:
        moved = {d: _diagonal_hits(tables, diagonal, d) for d in range(-5, 6)}
        best = max(moved, key=lambda d: (moved[d], -abs(d)))
        rules.append((moved[best], "the diagonal" + (f", {best:+d}" if best else "")))
    hits, label = max(rules, key=lambda one: one[0])
    return Rule(hits / rows, label)


def _hits(tables: Sequence[Wanted], kind: str, number: int) -> int:
    """Count the rows in which the key at an offset from the query, or a fixed key, is right."""
    if kind == "offset":
        return sum(int(np.diagonal(table, number).sum()) for table in tables)
    return sum(int(table[:, number].sum()) for table in tables if number < table.shape[1])


def _diagonal_hits(tables: Sequence[Wanted], before: int, moved: int) -> int:
    """Count the rows in which the key at the query's share of the text is right."""
    hits = 0
    for table in tables:
        queries, keys = table.shape
        shares = (np.arange(queries) + 0.5) / queries
        chosen = before + np.floor(shares * (keys - before)).astype(int) + moved
        inside = (chosen >= before) & (chosen < keys)
        hits += int(table[np.arange(queries)[inside], chosen[inside]].sum())
    return hits
