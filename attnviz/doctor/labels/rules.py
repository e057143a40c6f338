"""What a head is called: rules over measures, and what ablation says of them. Pure and fast."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from attnviz.doctor.labels.evidence_sentences import Names, sentences
from attnviz.doctor.labels.removal_effects import Effect, decisive, effect, verdict
from attnviz.doctor.labels.thresholds import Thresholds
from attnviz.doctor.measures.all_measures import Measures
from attnviz.doctor.measures.bootstrap import Intervals
from attnviz.doctor.measures.descriptions import describe
from attnviz.findings import LABELS, Evidence, Finding, Interval, Label, Replacement
from attnviz.types import Head, Kind

__all__ = ["Experiments", "Fit", "findings", "fits"]


@dataclass(frozen=True)
class Experiments:
    """What replacing heads has done to the loss, nats per token.

    Attributes:
        alone: by replacement and kind, of each head by itself, [layer, head].
        together: of two heads of a layer at once, where that was tried.
    """

    alone: Mapping[Replacement, Mapping[Kind, Intervals]] = field(default_factory=dict)
    together: Mapping[tuple[Head, Head], Interval] = field(default_factory=dict)

    def of(self, head: Head) -> dict[Replacement, Interval]:
        """The effects of replacing one head."""
        return {
            replacement: kinds[head.kind].at(head.layer, head.head)
            for replacement, kinds in self.alone.items()
            if head.kind in kinds
        }

    def pair(self, one: Head, other: Head) -> Interval | None:
        """The effect of replacing two heads at once."""
        return self.together.get((one, other), self.together.get((other, one)))


@dataclass(frozen=True)
class Fit:
    """A label whose rule a head fits."""

    label: Label
    detail: str = ""
    evidence: tuple[Evidence, ...] = ()
    partner: Head | None = None

    @property
    def name(self) -> str:
        """The label with its detail."""
        return f"{self.label}: {self.detail}" if self.detail else self.label


def findings(
    measures: Measures,
    thresholds: Thresholds,
    experiments: Experiments | None = None,
    names: Mapping[Kind, Names] | None = None,
) -> tuple[Finding, ...]:
    """A label for every head, with its evidence, what ablation says of it, and all that in words.

    The first label in the order of `LABELS` whose rule a head fits is its own; the others are kept
    in `Finding.also`. With one exception: an induction head that rests on the first token in
    between is an induction head, so a sink gives way to a function. (A peaked head is one without
    a function by definition.)

    Args:
        measures: from `attnviz.doctor.measures.all_measures`.
        thresholds: where the rules draw their lines.
        experiments: what replacing heads has cost; none where nothing was ablated.
        names: what the first token and the separators are called, per kind.
    """
    tried = experiments or Experiments()
    found = []
    for kind, table in measures.tables.items():
        called = (names or {}).get(kind, Names())
        layers, heads = table["lowest_entropy"].mean.shape
        for layer in range(layers):
            for number in range(heads):
                head = Head(kind, layer, number)
                values = {name: numbers.at(layer, number) for name, numbers in table.items()}
                found.append(_finding(head, values, measures, thresholds, tried, called))
    return tuple(found)


def _finding(
    head: Head,
    values: Mapping[str, Interval],
    measures: Measures,
    thresholds: Thresholds,
    experiments: Experiments,
    names: Names,
) -> Finding:
    ablation = experiments.of(head)
    what = effect(decisive(ablation), thresholds.tolerance)
    fitting = list(fits(head, values, measures, thresholds, what, names))
    function = any(fit.detail in FUNCTIONS for fit in fitting)
    # Peaked is no label for a head that has a function, or whose one key is its resting place.
    if function or values["rest"].mean > MOST:
        fitting = [fit for fit in fitting if fit.label != "peaked"]
    # And a sink gives way to a function.
    chosen = min(
        fitting,
        key=lambda fit: (fit.label == "sink" and function, LABELS.index(fit.label)),
    )
    finding = Finding(
        head=head,
        label=chosen.label,
        detail=chosen.detail,
        partner=chosen.partner,
        also=tuple(fit.name for fit in fitting if fit is not chosen and fit.label != "healthy"),
        evidence=chosen.evidence,
        ablation=ablation,
        verdict=verdict(decisive(ablation), thresholds.tolerance),
    )
    both = None if chosen.partner is None else experiments.pair(head, chosen.partner)
    said = sentences(finding, values, what, both, thresholds.tolerance, names)
    return Finding(**{**finding.__dict__, "sentences": said})


MOST = 0.5

FUNCTIONS = ("previous token", "next token", "duplicate", "induction", "alignment")
"""Patterns that do something. Weight on the first token or a separator is no function by itself."""


def fits(
    head: Head,
    values: Mapping[str, Interval],
    measures: Measures,
    thresholds: Thresholds,
    what: Effect | None,
    names: Names,
) -> Iterator[Fit]:
    """Every label whose rule a head fits, in the order of `LABELS`; healthy where none does."""
    limits = thresholds
    if values["not_finite"].mean > 0:
        # Nothing else holds of a head whose numbers are no numbers, wherever the limits are.
        yield Fit(
            "non-finite", evidence=(_evidence("not_finite", values["not_finite"], 0.0, True),)
        )
        return
    found: list[Fit] = []

    def rule(
        label: Label,
        *evidence: Evidence | None,
        detail: str = "",
        partner: Head | None = None,
    ) -> None:
        """Add a label if all of its evidence is there."""
        if all(one is not None for one in evidence):
            kept = tuple(one for one in evidence if one is not None)
            found.append(Fit(label, detail, kept, partner))

    def below(name: str, limit: float, *, unknown: bool = False) -> Evidence | None:
        """The evidence, if a value is below its limit (or, with `unknown`, was not measured)."""
        value = values[name].mean
        fits = value < limit or (unknown and math.isnan(value))
        return _evidence(name, values[name], limit, False) if fits else None

    def above(name: str, limit: float) -> Evidence | None:
        return _evidence(name, values[name], limit, True) if values[name].mean > limit else None

    rule("dead", below("output_share", limits.dead_output))
    rule(
        "uniform",
        above("lowest_entropy", limits.uniform_entropy),
        below("content_dependence", limits.uniform_dependence, unknown=True),
    )
    if values["normalized_entropy"].mean < limits.collapsed_entropy:
        rule(
            "peaked",
            below("normalized_entropy", limits.collapsed_entropy),
            detail=_favourite(values),
        )
    else:
        rule(
            "peaked",
            below("normalized_entropy", limits.peaked_entropy),
            below("content_dependence", limits.peaked_dependence, unknown=True),
            detail=_favourite(values),
        )
    found += _redundant(head, measures, limits)
    rule(
        "sink",
        above("rest", limits.sink_mass),
        _evidence("sink_value_share", values["sink_value_share"], limits.sink_value, False),
        _evidence("rows_elsewhere", values["rows_elsewhere"], limits.sink_elsewhere, False),
        detail=_sink_detail(values, limits, what),
    )
    patterns = [
        ("previous token", above("previous_token", limits.previous_token)),
        ("next token", above("next_token", limits.next_token)),
        ("duplicate", above("repeat_duplicate", limits.duplicate)),
        ("duplicate", above("pair_duplicate", limits.duplicate)),
        ("induction", above("repeat_induction", limits.induction)),
        ("alignment", above("alignment", limits.alignment)),
        (names.first, above("sink_first", limits.special_token)),
        (names.separator, above("separators", limits.special_token)),
    ]
    followed = [(detail, evidence) for detail, evidence in patterns if evidence is not None]
    # The strongest first; a function before a resting place, however strong that is.
    followed.sort(key=lambda one: (one[0] not in FUNCTIONS, -one[1].value.mean))
    for detail, evidence in followed:
        rule("specialised", evidence, detail=detail)
    rule("positional", below("content_dependence", limits.positional_dependence))
    if not found:
        depends = values["content_dependence"]
        shown = _evidence("content_dependence", depends, limits.positional_dependence, True)
        found.append(Fit("healthy", evidence=() if math.isnan(depends.mean) else (shown,)))
    yield from found


def _evidence(name: str, value: Interval, limit: float, above: bool) -> Evidence:
    what = describe(name)
    return Evidence(name, what.label, what.unit, value, limit, above)


def _favourite(values: Mapping[str, Interval]) -> str:
    """What a peaked head looks at."""
    if values["self"].mean > MOST:
        return "own token"
    return "same key" if values["sink"].mean > MOST else ""


def _sink_detail(values: Mapping[str, Interval], limits: Thresholds, what: Effect | None) -> str:
    """Resting, working or broken; and where that is not known, so."""
    if what is None:
        return "not tested"
    if what in (Effect.COSTS, Effect.LITTLE):
        return "working"
    if what in (Effect.OPEN, Effect.ONE_TEXT):
        return "undecided"
    if values["rows_elsewhere"].mean < limits.sink_elsewhere:
        return "broken"
    return "resting" if values["sink_value_share"].mean < limits.sink_value else "undecided"


def _redundant(head: Head, measures: Measures, limits: Thresholds) -> Iterator[Fit]:
    """The most similar head of the layer, if it looks at the same keys and adds the same."""
    pairs = measures.pairs.get(head.kind)
    if pairs is None:
        return
    apart, parallel = pairs.head_distance, pairs.output_cosine
    count = apart.mean.shape[-1]
    candidates = [
        other
        for other in range(count)
        if other != head.head
        and apart.mean[head.layer, head.head, other] < limits.redundant_distance
        and parallel.mean[head.layer, head.head, other] > limits.redundant_cosine
    ]
    if not candidates:
        return
    nearest = min(candidates, key=lambda other: apart.mean[head.layer, head.head, other])
    cell = (head.layer, head.head, nearest)
    partner = Head(head.kind, head.layer, nearest)
    yield Fit(
        "redundant",
        f"with {partner.label}",
        (
            _evidence("head_distance", apart.at(*cell), limits.redundant_distance, False),
            _evidence("output_cosine", parallel.at(*cell), limits.redundant_cosine, True),
        ),
        partner,
    )
