"""Sentences that list heads by what their removal showed."""

from __future__ import annotations

from collections.abc import Sequence

from attnviz.findings import Finding
from attnviz.removals import kept_heads, removal_cost, removals
from attnviz.views.report.summary_sentences import head_count
from attnviz.word_lists import joined
from attnviz.written_numbers import signed_nats

__all__ = ["kept_sentence", "removal_lists"]

NAMED = 10  # heads of a list that are named


def removal_lists(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """Return a title and the names of the heads, with costs, for each effect that heads have.

    Empty if no head was removed.
    """
    effects = removals(findings)
    if len(effects.not_tested) == len(findings):
        return []
    lists = (
        ("Better without", effects.better_without),
        ("No difference, may be pruned", effects.no_difference),
        ("Needed", tuple(reversed(effects.needed))),
        ("Unclear, more texts would tell", effects.unclear),
    )
    return [(f"{words}: {head_count(len(one))}.", _named(one)) for words, one in lists if one]


def kept_sentence(findings: Sequence[Finding]) -> str:
    """Return which heads have to stay because others do the same; empty if there are none."""
    kept = sorted(kept_heads(findings), key=lambda head: (head.layer, head.head))
    if not kept:
        return ""
    return (
        f"Keep {joined([head.label for head in kept])}: other heads do the same, and one of each "
        "group is needed. The list for pruning leaves them out."
    )


def _named(findings: Sequence[Finding]) -> str:
    said = [f"{one.head.label} ({signed_nats(removal_cost(one))})" for one in findings[:NAMED]]
    more = f", and {len(findings) - NAMED} more" if len(findings) > NAMED else ""
    return ", ".join(said) + more
