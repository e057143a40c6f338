"""Matching of one head's measures with the rules of the table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attnviz.doctor.labels.evidence_sentences import Names
from attnviz.doctor.labels.removal_effects import Effect
from attnviz.doctor.labels.rule_table import (
    FIRST,
    OTHER_PLACE,
    RULES,
    SATURATED,
    SEPARATOR,
    Condition,
    Rule,
    Side,
)
from attnviz.doctor.labels.thresholds import Thresholds
from attnviz.doctor.measures.all_measures import PAIRS, Measures
from attnviz.doctor.measures.descriptions import describe
from attnviz.doctor.measures.fixed_places import offset_name
from attnviz.findings import LABELS, Evidence, HeadFunction, Interval, Label
from attnviz.types import Head

__all__ = ["Fit", "fits", "is_close", "near_misses"]


@dataclass(frozen=True)
class Fit:
    """Label whose rule a head meets.

    Attributes:
        label: the label.
        detail: variant, in words.
        evidence: measures and limits of the rule.
        partner: for a redundant head, the head with the same output.
        function: for a specialised head, the pattern.
        place: for a sink, the resting place; "" for the first token and separators.
    """

    label: Label
    detail: str = ""
    evidence: tuple[Evidence, ...] = ()
    partner: Head | None = None
    function: HeadFunction | None = None
    place: str = ""

    @property
    def name(self) -> str:
        """Return label and detail: "sink: resting"."""
        return f"{self.label}: {self.detail}" if self.detail else self.label


def fits(
    head: Head,
    values: Mapping[str, Interval],
    measures: Measures,
    thresholds: Thresholds,
    what: Effect | None,
    names: Names,
) -> tuple[Fit, ...]:
    """Return the labels whose rules a head meets, in the order of `LABELS`; at least one."""
    if values["not_finite"].mean > 0:  # no other measure is defined
        evidence = _evidence(RULES[0].conditions[0], values, thresholds)
        return (Fit("non-finite", evidence=(evidence,)),)
    partner = _partner(head, measures, thresholds)
    values = _with_pair(values, head, partner, measures)
    met = [rule for rule in RULES if _meets(rule, values, thresholds)]
    function = any(rule.function for rule in met)
    matching: list[Fit] = []
    for rule in met:
        if rule.label == "redundant" and partner is None:
            continue
        if rule.excluded_by_function and function:
            continue
        if rule.label in ("peaked", "sink") and rule.label in {fit.label for fit in matching}:
            continue
        if rule.label == "healthy" and matching:
            continue
        matching.append(
            _fit(rule, head, values, measures, thresholds, what, names, partner, function)
        )
    patterns = [fit for fit in matching if fit.label == "specialised"]
    # A function before a resting place, then the largest weight.
    patterns.sort(key=lambda fit: (fit.function is None, -fit.evidence[0].value.mean))
    order = [fit for fit in matching if fit.label != "specialised"]
    return tuple(sorted([*order, *patterns], key=lambda fit: LABELS.index(fit.label)))


def _fit(
    rule: Rule,
    head: Head,
    values: Mapping[str, Interval],
    measures: Measures,
    thresholds: Thresholds,
    what: Effect | None,
    names: Names,
    partner: Head | None,
    function: bool,
) -> Fit:
    """Return a met rule with its evidence and its variant."""
    evidence = tuple(
        _evidence(one, values, thresholds)
        for one in (*rule.conditions, *rule.shown)
        if not (one.unmeasured and math.isnan(values[one.measure].mean))
    )
    if rule.label == "redundant" and partner is not None:
        return Fit(rule.label, f"with {partner.label}", evidence, partner)
    if rule.label == "peaked":
        kept = tuple(one for one in evidence if one.measure not in ("rest", "other_rest"))
        return Fit(rule.label, _favourite(values, thresholds), kept)
    if rule.label == "sink":
        place = _place(head, measures) if rule.variant == OTHER_PLACE else ""
        detail = _sink_detail(rule, values, thresholds, what, function)
        return Fit(rule.label, detail, evidence, place=place)
    if rule.label == "specialised":
        detail = {FIRST: names.first, SEPARATOR: names.separator}.get(rule.variant, rule.variant)
        if rule.function is HeadFunction.OFFSET:
            fixed = measures.fixed.get(head.kind)
            detail = offset_name(int(fixed.offsets[head.layer, head.head])) if fixed else detail
        return Fit(rule.label, str(detail), evidence, function=rule.function)
    if rule.label == "healthy":
        known = () if math.isnan(values["content_dependence"].mean) else evidence
        sharp = _holds(SATURATED, values, thresholds)
        return Fit(
            rule.label,
            evidence=(*known, *([_evidence(SATURATED, values, thresholds)] if sharp else [])),
        )
    return Fit(rule.label, evidence=evidence)


def _meets(rule: Rule, values: Mapping[str, Interval], thresholds: Thresholds) -> bool:
    return all(_holds(one, values, thresholds) for one in rule.conditions)


def _holds(condition: Condition, values: Mapping[str, Interval], thresholds: Thresholds) -> bool:
    value, limit = values[condition.measure].mean, _limit(condition, thresholds)
    if math.isnan(value):
        return condition.unmeasured
    return value > limit if condition.side is Side.ABOVE else value < limit


def _limit(condition: Condition, thresholds: Thresholds) -> float:
    return float(getattr(thresholds, condition.limit)) if condition.limit else 0.0


def _evidence(
    condition: Condition, values: Mapping[str, Interval], thresholds: Thresholds
) -> Evidence:
    what = describe(condition.measure)
    return Evidence(
        condition.measure,
        what.label,
        what.unit,
        values[condition.measure],
        _limit(condition, thresholds),
        condition.side is Side.ABOVE,
        condition.decides,
    )


def is_close(evidence: Evidence) -> bool:
    """Return True if the interval of a measure contains its limit."""
    return evidence.value.low < evidence.threshold < evidence.value.high


def near_misses(
    values: Mapping[str, Interval],
    thresholds: Thresholds,
    fitting: Sequence[Fit],
    names: Names,
) -> list[tuple[str, tuple[Evidence, ...]]]:
    """Return labels that a head misses by measures whose intervals contain their limits."""
    near: list[tuple[str, tuple[Evidence, ...]]] = []
    if fitting[0].label == "non-finite":
        return near
    function = any(fit.function for fit in fitting)
    for rule in RULES:
        missed = [one for one in rule.conditions if not _holds(one, values, thresholds)]
        evidence = tuple(_evidence(one, values, thresholds) for one in missed)
        excluded = rule.excluded_by_function and function
        unlimited = rule.label == "non-finite"
        if not missed or excluded or unlimited or not all(map(is_close, evidence)):
            continue
        detail = {FIRST: names.first, SEPARATOR: names.separator}.get(rule.variant, rule.variant)
        name = f"{rule.label}: {detail}" if rule.label == "specialised" else rule.label
        known = {fit.label if fit.label != "specialised" else fit.name for fit in fitting}
        if name not in known | {one for one, _ in near}:
            near.append((name, evidence))
    return near


def _place(head: Head, measures: Measures) -> str:
    """Return the name of the token or position that a head rests on."""
    fixed = measures.fixed.get(head.kind)
    return fixed.places[head.layer][head.head] if fixed else OTHER_PLACE


def _favourite(values: Mapping[str, Interval], thresholds: Thresholds) -> str:
    """Return the key of a peaked head: "own token", "same key", or ""."""
    if values["self"].mean > thresholds.favourite:
        return "own token"
    return "same key" if values["sink"].mean > thresholds.favourite else ""


def _sink_detail(
    rule: Rule,
    values: Mapping[str, Interval],
    limits: Thresholds,
    what: Effect | None,
    function: bool,
) -> str:
    """Return "resting", "working", "broken", "undecided" or "not tested".

    A head with a function rests wherever its pattern is missing: its removal tests the function.
    """
    if what is None:
        return "not tested"
    if function:
        return "resting"
    if what in (Effect.COSTS, Effect.LITTLE):
        return "working"
    if what in (Effect.OPEN, Effect.ONE_TEXT):
        return "undecided"
    elsewhere = next(one for one in rule.shown if one.limit == "sink_elsewhere")
    if _holds(elsewhere, values, limits):
        return "broken"
    moved = [one for one in rule.shown if one.limit == "sink_value"]
    return "resting" if all(_holds(one, values, limits) for one in moved) else "undecided"


def _partner(head: Head, measures: Measures, limits: Thresholds) -> Head | None:
    """Return the nearest head of the layer with equal rows and equal outputs."""
    pairs = measures.pairs.get(head.kind)
    if pairs is None:
        return None
    apart = pairs.head_distance.mean[head.layer, head.head]
    parallel = pairs.output_cosine.mean[head.layer, head.head]
    candidates = [
        other
        for other in range(len(apart))
        if other != head.head
        and apart[other] < limits.redundant_distance
        and parallel[other] > limits.redundant_cosine
    ]
    if not candidates:
        return None
    return Head(head.kind, head.layer, min(candidates, key=lambda other: apart[other]))


def _with_pair(
    values: Mapping[str, Interval], head: Head, partner: Head | None, measures: Measures
) -> Mapping[str, Interval]:
    """Return the measures of a head with those of the pair in place of the nearest head's."""
    if partner is None:
        return values
    pairs = measures.pairs[head.kind]
    cell = (head.layer, head.head, partner.head)
    return {**values, **{name: getattr(pairs, name).at(*cell) for name in PAIRS}}
