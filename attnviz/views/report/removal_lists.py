"""Lists of heads by what their removal showed, and the sentences that show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from attnviz.findings import Finding, Verdict
from attnviz.types import Head
from attnviz.views.report.summary_sentences import head_count, listed, removal_cost, signed

__all__ = [
    "Removals",
    "kept_heads",
    "kept_sentence",
    "known_cost",
    "prunable_heads",
    "removal_lists",
    "removals",
]

NAMED = 10  # heads of a list that are named


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
        f"Keep {listed([head.label for head in kept])}: other heads do the same, and one of each "
        "group is needed. The list for pruning leaves them out."
    )


def _named(findings: Sequence[Finding]) -> str:
    said = [f"{one.head.label} ({signed(removal_cost(one))})" for one in findings[:NAMED]]
    more = f", and {len(findings) - NAMED} more" if len(findings) > NAMED else ""
    return ", ".join(said) + more


def known_cost(finding: Finding) -> float:
    """Return the change of the loss without the head; infinity where it was not measured."""
    cost = removal_cost(finding)
    return cost if cost == cost else float("inf")
