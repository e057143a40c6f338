"""Labels of heads: the rules of the table applied to measures. Pure and fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from attnviz.doctor.labels.evidence_sentences import Names, sentences
from attnviz.doctor.labels.head_groups import GroupRemoval
from attnviz.doctor.labels.partial_labels import Partial, partial_labels
from attnviz.doctor.labels.removal_effects import decisive, effect, verdict
from attnviz.doctor.labels.rule_matching import fits, is_close, near_misses
from attnviz.doctor.labels.thresholds import Thresholds
from attnviz.doctor.measures.all_measures import Measures
from attnviz.doctor.measures.bootstrap import Intervals
from attnviz.findings import LABELS, Finding, Interval, Label, Replacement, Verdict
from attnviz.types import Head, Kind

__all__ = ["Experiments", "findings"]


@dataclass(frozen=True)
class Experiments:
    """Changes of the loss when heads are replaced, nats per token.

    Attributes:
        alone: by replacement and kind, of each head by itself, [layer, head].
        together: of two similar heads of a layer at once.
        groups: of larger groups of heads that do the same.
        pruned: the heads that were listed for pruning under the limits of the diagnosis.
        pruning: change of the loss without all of them at once; None for fewer than two.
    """

    alone: Mapping[Replacement, Mapping[Kind, Intervals]] = field(default_factory=dict)
    together: Mapping[tuple[Head, Head], Interval] = field(default_factory=dict)
    groups: Sequence[GroupRemoval] = ()
    pruned: tuple[Head, ...] = ()
    pruning: Interval | None = None

    def of(self, head: Head) -> dict[Replacement, Interval]:
        """Return the changes of the loss when one head is replaced."""
        return {
            replacement: kinds[head.kind].at(head.layer, head.head)
            for replacement, kinds in self.alone.items()
            if head.kind in kinds
        }

    def pair(self, one: Head, other: Head) -> Interval | None:
        """Return the change of the loss when two heads are replaced at once."""
        return self.together.get((one, other), self.together.get((other, one)))

    def group(self, finding: Finding) -> GroupRemoval | None:
        """Return the group of a head: copies if it is redundant, its function otherwise."""
        for one in self.groups:
            same = (
                finding.label == "redundant"
                if one.group.function is None
                else (finding.function is one.group.function)
            )
            if same and finding.head in one.group.heads:
                return one
        return None


def findings(
    measures: Measures,
    thresholds: Thresholds,
    experiments: Experiments | None = None,
    names: Mapping[Kind, Names] | None = None,
) -> tuple[Finding, ...]:
    """Return one Finding per head: label, evidence, verdict, sentences.

    A head gets the first label in the order of `LABELS` whose rule it meets; `Finding.also` has
    the others. One exception: a sink with a function is `specialised`, because induction heads
    rest on the first token where nothing repeats.

    Args:
        measures: from `attnviz.doctor.measures.all_measures`.
        thresholds: limits of the rules.
        experiments: changes of the loss without heads; None if no head was removed.
        names: names of the first token and the separators, per kind.
    """
    removed = experiments or Experiments()
    labelled = []
    for kind, table in measures.tables.items():
        called = (names or {}).get(kind, Names())
        layers, heads = table["lowest_entropy"].mean.shape
        for layer in range(layers):
            for number in range(heads):
                head = Head(kind, layer, number)
                values = {name: numbers.at(layer, number) for name, numbers in table.items()}
                labelled.append(_finding(head, values, measures, thresholds, removed, called))
    return tuple(labelled)


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
    fitting = fits(head, values, measures, thresholds, what, names)
    function = any(fit.function for fit in fitting)
    chosen = min(
        fitting, key=lambda fit: (fit.label == "sink" and function, LABELS.index(fit.label))
    )
    others = [fit for fit in fitting if fit is not chosen and fit.label != "healthy"]
    partial = _partial(head, measures, thresholds, {fit.label for fit in fitting}, function)
    finding = Finding(
        head=head,
        label=chosen.label,
        detail=chosen.detail,
        function=chosen.function,
        partner=chosen.partner,
        also=tuple(dict.fromkeys(fit.name for fit in others)),
        evidence=chosen.evidence,
        ablation=ablation,
        verdict=verdict(decisive(ablation), thresholds.tolerance),
        partial=tuple(one.name for one in partial),
    )
    near = near_misses(values, thresholds, fitting, names)
    held = (
        [chosen.name] if any(map(is_close, chosen.evidence)) and chosen.label != "healthy" else []
    )
    pair = None if chosen.partner is None else experiments.pair(head, chosen.partner)
    group = experiments.group(finding)
    together = pair if group is None else group.everything
    rises = verdict(together, thresholds.tolerance) in (Verdict.NEEDED, Verdict.UNCLEAR)
    finding = replace(
        finding,
        close=(*held, *dict.fromkeys(name for name, _ in near)),
        group=() if group is None else group.group.heads,
        together=together,
        spare=finding.verdict is Verdict.NO_DIFFERENCE and together is not None and rises,
    )
    said = sentences(
        finding,
        values,
        what,
        thresholds.tolerance,
        names,
        place=chosen.place,
        partial=[one.sentence for one in partial],
        group=group,
        near=near,
    )
    return replace(finding, sentences=said)


def _partial(
    head: Head,
    measures: Measures,
    thresholds: Thresholds,
    labels: set[Label],
    function: bool,
) -> list[Partial]:
    """Return labels that hold on a part of the texts; no sharp or resting head with a function."""
    tables = measures.values.get(head.kind, {})
    values = {name: table[head.layer, head.head] for name, table in tables.items()}
    unlikely = {"peaked", "sink"} if function else set()
    if values and "sink" in labels:
        unlikely = unlikely | {"peaked"}
    return [
        one
        for one in partial_labels(values, thresholds)
        if one.label not in labels | unlikely and "non-finite" not in labels
    ]
