"""Heads of a diagnosis by what their removal showed, and as lists for pruning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from attnviz.doctor.diagnosis import Diagnosis
from attnviz.findings import Finding, Verdict
from attnviz.types import Head
from attnviz.views.report.summary_sentences import removal_cost

__all__ = ["Removals", "by_surprise", "kept_heads", "pruning_file", "removals"]


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
    ordered = sorted(findings, key=_cost)

    def having(verdict: Verdict) -> tuple[Finding, ...]:
        return tuple(one for one in ordered if one.verdict is verdict)

    return Removals(
        having(Verdict.BETTER_WITHOUT),
        having(Verdict.NO_DIFFERENCE),
        having(Verdict.NEEDED),
        having(Verdict.UNCLEAR),
        having(Verdict.NOT_TESTED),
    )


def by_surprise(findings: Iterable[Finding]) -> list[Finding]:
    """Return the heads, the most surprising first.

    Labels that the removal contradicts; heads that are better removed; degenerate heads; the
    others. Within each of these the largest change of the loss comes first.
    """

    def rank(one: Finding) -> tuple[bool, bool, bool, float]:
        cost = abs(_cost(one))
        return (
            not one.contradicted,
            one.verdict is not Verdict.BETTER_WITHOUT,
            not one.degenerate,
            -cost if cost < float("inf") else 0.0,
        )

    return sorted(findings, key=rank)


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
            dearest = max(group, key=lambda each: (_cost(each), -each.head.layer, -each.head.head))
            kept.add(dearest.head)
    return frozenset(kept)


def pruning_file(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return what may be pruned, what is better removed and what is needed, for JSON.

    "prune_heads" has one entry per kind: {layer: [head, ...]}, the form that `prune_heads` of the
    transformers library took before version 5 (layers as strings, since JSON has no other keys),
    with the heads whose removal lowers the loss or makes no difference. One head of each group
    that does the same is left out of it, under "kept" (`kept_heads`). Each head was removed
    alone: the cost of removing all of them together is not their sum, and has to be measured.
    """
    effects = removals(diagnosis.findings)
    kept = kept_heads(diagnosis.findings)
    kinds: dict[str, dict[str, list[int]]] = {}
    for one in (*effects.better_without, *effects.no_difference):
        if one.head in kept:
            continue
        layers = kinds.setdefault(one.head.kind, {})
        layers.setdefault(str(one.head.layer), []).append(one.head.head)
    return {
        "model": diagnosis.model.name,
        "revision": diagnosis.model.revision,
        "texts": {"name": diagnosis.texts.name, "digest": diagnosis.texts.digest},
        "removed": "one head at a time",
        "prune_heads": {
            kind: {layer: sorted(heads) for layer, heads in sorted(layers.items())}
            for kind, layers in kinds.items()
        },
        "kept": _costs([one for one in diagnosis.findings if one.head in kept]),
        **{name: _costs(getattr(effects, name)) for name in (
            "better_without", "no_difference", "needed", "unclear")},
    }  # fmt: skip


def _costs(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [
        {
            "kind": one.head.kind,
            "layer": one.head.layer,
            "head": one.head.head,
            "cost": removal_cost(one),
        }
        for one in findings
    ]


def _cost(finding: Finding) -> float:
    """Return the change of the loss without the head; infinity where it was not measured."""
    cost = removal_cost(finding)
    return cost if cost == cost else float("inf")
