"""Headline of a diagnosis: heads without use, heads that are needed, heads that do harm."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from attnviz.findings import LABELS, Finding, Verdict
from attnviz.removals import removal_cost
from attnviz.types import Head
from attnviz.word_lists import joined
from attnviz.written_numbers import signed_nats

__all__ = [
    "diagnosis_sentences",
    "head_count",
    "named_heads",
    "text_count",
]

SHOWN = 6  # heads that are named one by one
SEVERE = 0.1
"""A fall of the loss without a head that is named before all else, nats per token: a tenth of the
perplexity."""


def diagnosis_sentences(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Return the headline of a diagnosis, most important sentence first.

    A head is proven useless if its label is degenerate and its removal makes no difference. Heads
    that are better removed are named whatever their label is.
    """
    suspects = [one for one in findings if one.degenerate]
    if all(one.verdict is Verdict.NOT_TESTED for one in findings):
        said = [
            *_broken(suspects),
            _looks(suspects, len(findings)),
            "No removal was measured: labels show where heads look, not what the model needs.",
        ]
    else:
        said = [*_broken(suspects), *_tested(findings, suspects), _effects(findings)]
    saturated = [one for one in findings if one.saturated]
    if saturated:
        have = "has a saturated softmax" if len(saturated) == 1 else "have saturated softmaxes"
        said.append(
            f"{named_heads(saturated)} {have}: one key gets nearly all of each row's weight."
        )
    sinks = Counter(one.detail for one in findings if one.label == "sink" and not one.degenerate)
    if sinks:
        kinds = joined([f"{detail} ({count})" for detail, count in sinks.most_common()])
        have = "has" if sinks.total() == 1 else "have"
        said.append(f"{head_count(sinks.total())} {have} a sink: {kinds}.")
    patterns = Counter(one.detail for one in findings if one.label == "specialised")
    if patterns:
        kinds = joined([f"{detail} ({count})" for detail, count in patterns.most_common()])
        does = "follows a known pattern" if patterns.total() == 1 else "follow a known pattern"
        said.append(f"{head_count(patterns.total())} {does}: {kinds}.")
    close = sum(bool(one.close) for one in findings)
    if close:
        are = "label is a close call" if close == 1 else "labels are close calls"
        said.append(f"{close} {are}: other texts could change {'it' if close == 1 else 'them'}.")
    return tuple(said)


def head_count(number: int) -> str:
    """Return "1 head", "2 heads"."""
    return "1 head" if number == 1 else f"{number} heads"


def text_count(number: int) -> str:
    """Return "1 text", "2,000 texts"."""
    return "1 text" if number == 1 else f"{number:,} texts"


def _looks(suspects: Sequence[Finding], heads: int) -> str:
    """Return how many heads have a degenerate label, for a diagnosis without removals."""
    if not suspects:
        return f"None of the {head_count(heads)} looks degenerate."
    ordered = sorted(suspects, key=lambda one: LABELS.index(one.label))
    counts = Counter(one.name if one.label == "sink" else one.label for one in ordered)
    labels = joined([f"{count} {name}" for name, count in counts.items()])
    look = "looks" if len(suspects) == 1 else "look"
    return f"{len(suspects)} of {head_count(heads)} {look} degenerate: {labels}."


def _broken(suspects: Sequence[Finding]) -> list[str]:
    """Return the sentence on heads that compute NaN or infinity."""
    broken = [one for one in suspects if one.label == "non-finite"]
    if not broken:
        return []
    verb = "computes" if len(broken) == 1 else "compute"
    return [f"{named_heads(broken)} {verb} NaN or infinity."]


def _tested(findings: Sequence[Finding], suspects: Sequence[Finding]) -> list[str]:
    """Return the sentences on the removals: useless, needed, harmful and unclear heads."""
    suspects = [one for one in suspects if one.label != "non-finite"]
    alone = [one for one in suspects if one.verdict is Verdict.NO_DIFFERENCE]
    useless = [one for one in alone if one.useless]
    needed = sorted((one for one in suspects if one.contradicted), key=removal_cost, reverse=True)
    unclear = [one for one in suspects if one.verdict is Verdict.UNCLEAR]
    harmful = [one for one in findings if one.verdict is Verdict.BETTER_WITHOUT]
    harmful.sort(key=removal_cost)
    severe = bool(harmful) and removal_cost(harmful[0]) < -SEVERE
    said = _severe(harmful, suspects) if severe else []
    said += [] if useless else ["No head is proven useless."]
    if useless:
        looks = "looks degenerate" if len(useless) == 1 else "look degenerate"
        each = "it" if len(useless) == 1 else "each"
        useless_names = named_heads(useless, labels=True)
        said.append(f"{useless_names} {looks}, and removing {each} makes no difference.")
    said += _spare([one for one in alone if one.spare])
    if needed:
        looks, verb = ("looks", "is") if len(needed) == 1 else ("look", "are")
        said.append(f"{named_heads(needed, costs=True)} {looks} degenerate but {verb} needed.")
    if harmful and not severe:
        said.append(f"Better without: {named_heads(harmful, costs=True, suspect=True)}.")
    if unclear:
        looks = "looks" if len(unclear) == 1 else "look"
        said.append(f"Unclear: {named_heads(unclear)} {looks} degenerate; more texts would tell.")
    return said


def _severe(harmful: Sequence[Finding], suspects: Sequence[Finding]) -> list[str]:
    """Return the sentences on heads of which one raises the loss by more than `SEVERE`.

    What such a head adds is read by all layers above: their heads may be degenerate because of it.
    """
    worst = harmful[0].head
    which = worst.label if len(harmful) == 1 else head_count(len(harmful))
    said = [
        f"The model is better without {which}.",
        f"Better without: {named_heads(harmful, costs=True, suspect=True)}.",
    ]
    above = [
        one for one in suspects if one.head.kind == worst.kind and one.head.layer > worst.layer
    ]
    if above:
        said.append(
            f"Repair {worst.label} first: heads of the layers above may look degenerate because "
            "of it."
        )
    return said


EFFECTS: Mapping[Verdict, tuple[str, str]] = {
    Verdict.NEEDED: ("is needed", "are needed"),
    Verdict.NO_DIFFERENCE: ("makes no difference", "make no difference"),
    Verdict.BETTER_WITHOUT: ("is better removed", "are better removed"),
    Verdict.UNCLEAR: ("is unclear", "are unclear"),
    Verdict.NOT_TESTED: ("was not tested", "were not tested"),
}


def _effects(findings: Sequence[Finding]) -> str:
    """Return the number of heads of each verdict, in words."""
    counts = Counter(one.verdict for one in findings)
    said = [
        f"{counts[verdict]} {one if counts[verdict] == 1 else several}"
        for verdict, (one, several) in EFFECTS.items()
        if counts[verdict]
    ]
    return f"Of {head_count(len(findings))}, {joined(said)}."


def _spare(findings: Sequence[Finding]) -> list[str]:
    """Return a sentence per group of copies of which each can be removed, but not all."""
    groups: dict[frozenset[Head], Finding] = {}
    for one in findings:
        pair = () if one.partner is None else (one.head, one.partner)
        groups.setdefault(frozenset(one.group or pair), one)
    said = []
    for group, one in groups.items():
        names = [head.label for head in sorted(group, key=lambda head: (head.layer, head.head))]
        if len(names) > SHOWN:
            names = [*names[:SHOWN], f"{len(names) - SHOWN} more"]
        said.append(f"{joined(names)} do the same: removing one makes no difference.")
        if one.together is not None and not math.isnan(one.together.mean):
            said.append(
                f"Removing all of them changes the loss by {signed_nats(one.together.mean)} nats."
            )
    return said


def named_heads(
    findings: Sequence[Finding],
    *,
    costs: bool = False,
    labels: bool = False,
    suspect: bool = False,
) -> str:
    """Return the names of heads with costs or labels in parentheses, cut after a few.

    Args:
        findings: of the heads.
        costs: True to add the change of the loss without the head.
        labels: True to add the label.
        suspect: True to add the label, with its variant, of heads that look degenerate.
    """
    shown = []
    for one in findings[:SHOWN]:
        cost = removal_cost(one)
        extra: list[str] = [one.label] if labels else []
        if suspect and one.degenerate:
            extra.append(one.name)
        if costs and not math.isnan(cost):
            extra.append(f"{signed_nats(cost)} nats")
        shown.append(f"{one.head.label} ({', '.join(extra)})" if extra else one.head.label)
    if len(findings) > SHOWN:
        shown.append(f"{len(findings) - SHOWN} more")
    return joined(shown)
