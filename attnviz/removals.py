"""Heads by what their removal showed: costs, which may be pruned, which to look at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from attnviz.findings import LABELS, Finding, Verdict
from attnviz.types import Head

__all__ = [
    "Removals",
    "by_surprise",
    "heads_to_look_at",
    "kept_heads",
    "known_cost",
    "prunable_heads",
    "removal_cost",
    "removals",
]


@dataclass(frozen=True)
class Removals:
    """Heads by the effect of their removal, each sorted by cost, lowest first.

    Attributes:
        better_without: heads whose removal lowers the loss.
        no_difference: heads whose removal changes the loss by less than the tolerance.
        needed: heads whose removal raises the loss.
        unclear: heads whose interval allows more than one result.
        not_tested: heads without a cost.
    """

    better_without: tuple[Finding, ...]
    no_difference: tuple[Finding, ...]
    needed: tuple[Finding, ...]
    unclear: tuple[Finding, ...]
    not_tested: tuple[Finding, ...]


def removals(findings: Iterable[Finding]) -> Removals:
    """Return the heads sorted by verdict and cost."""
    ordered = sorted(findings, key=known_cost)

    def having(verdict: Verdict) -> tuple[Finding, ...]:
        return tuple(one for one in ordered if one.verdict is verdict)

    return Removals(
        having(Verdict.BETTER_WITHOUT),
        having(Verdict.NO_DIFFERENCE),
        having(Verdict.NEEDED),
        having(Verdict.UNCLEAR),
        having(Verdict.NOT_TESTED),
    )


def kept_heads(findings: Iterable[Finding]) -> frozenset[Head]:
    """Return one head of each group whose heads can each be removed, but not all of them.

    Of such a group the head whose removal raises the loss most is kept. A group with a head that
    is not on the lists of heads to prune keeps that head, and needs no other.
    """
    every = {one.head: one for one in findings}
    pruned = {Verdict.NO_DIFFERENCE, Verdict.BETTER_WITHOUT}
    kept = set()
    for one in every.values():
        same = {one.head, *one.group, *(() if one.partner is None else (one.partner,))}
        group = [every[head] for head in same if head in every]
        if one.spare and all(each.verdict in pruned for each in group):
            dearest = max(
                group, key=lambda each: (known_cost(each), -each.head.layer, -each.head.head)
            )
            kept.add(dearest.head)
    return frozenset(kept)


def prunable_heads(findings: Sequence[Finding]) -> tuple[Head, ...]:
    """Return the heads whose removal lowers the loss or makes no difference, except kept ones."""
    effects, kept = removals(findings), kept_heads(findings)
    listed_heads = (one.head for one in (*effects.better_without, *effects.no_difference))
    return tuple(head for head in listed_heads if head not in kept)


def heads_to_look_at(findings: Sequence[Finding]) -> list[tuple[str, list[Finding]]]:
    """Return a title and its heads, for each group that has any.

    Heads that look degenerate but are needed, heads without which the loss is lower, and the
    other heads that look degenerate; in the first two the largest change of the loss comes first.
    """
    needed = [one for one in findings if one.contradicted]
    harmful = [one for one in findings if one.verdict is Verdict.BETTER_WITHOUT]
    others = [one for one in findings if one.degenerate and one not in needed + harmful]
    groups = (
        ("Look degenerate but are needed", sorted(needed, key=removal_cost, reverse=True)),
        ("Better without", sorted(harmful, key=removal_cost)),
        ("Look degenerate", sorted(others, key=lambda one: LABELS.index(one.label))),
    )
    return [(title, heads) for title, heads in groups if heads]


def removal_cost(finding: Finding) -> float:
    """Return the change of the loss without a head, nats per token; NaN if it was not removed."""
    return math.nan if finding.removal is None else finding.removal.mean


def by_surprise(findings: Iterable[Finding]) -> list[Finding]:
    """Return the heads, the most surprising first.

    Heads that compute NaN or infinity; labels that the removal contradicts; heads that are better
    removed; degenerate heads; the others. Within each of these the largest change of the loss
    comes first.
    """

    def rank(one: Finding) -> tuple[bool, bool, bool, bool, float]:
        cost = abs(known_cost(one))
        return (
            one.label != "non-finite",
            not one.contradicted,
            one.verdict is not Verdict.BETTER_WITHOUT,
            not one.degenerate,
            -cost if cost < float("inf") else 0.0,
        )

    return sorted(findings, key=rank)


def known_cost(finding: Finding) -> float:
    """Return the change of the loss without the head; infinity where it was not measured."""
    cost = removal_cost(finding)
    return math.inf if math.isnan(cost) else cost
