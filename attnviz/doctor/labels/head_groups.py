"""Groups of heads that do the same, and the cost of removing them together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from attnviz.doctor.labels.number_words import per_token
from attnviz.doctor.labels.removal_effects import removal_sentence
from attnviz.doctor.labels.thresholds import Thresholds
from attnviz.doctor.measures.all_measures import Measures
from attnviz.findings import Finding, HeadFunction, Interval
from attnviz.types import Head
from attnviz.word_lists import joined
from attnviz.written_numbers import change_in_nats

__all__ = ["GroupRemoval", "HeadGroup", "copies", "plain_group", "same_function"]

SHOWN = 8


@dataclass(frozen=True)
class HeadGroup:
    """Heads that do the same.

    Attributes:
        heads: at least two, or at least three copies.
        function: the pattern they follow; None for copies: equal rows and equal outputs.
    """

    heads: tuple[Head, ...]
    function: HeadFunction | None = None

    @property
    def name(self) -> str:
        """Return "6 induction heads (L1·H5, …)" or "8 heads that do the same (L0·H0, …)"."""
        shown = [one.label for one in self.heads[:SHOWN]]
        if len(self.heads) > SHOWN:
            shown.append(f"{len(self.heads) - SHOWN} more")
        heads = f"{len(self.heads)} heads that do the same"
        if self.function is not None:
            heads = f"{len(self.heads)} {self.function} heads"
        return f"{heads} ({joined(shown)})"


@dataclass(frozen=True)
class GroupRemoval:
    """Cost of removing a group, nats per token.

    Attributes:
        group: the heads.
        kept: the head that stays when all but one are removed: the one that costs most alone.
        all_but_one: change of the loss on the texts without the others.
        everything: change of the loss on the texts without the whole group.
        repeated: changes of the loss of random tokens that repeat, for induction and duplicate
            heads: the largest without one head, without all but one, without all; None elsewhere.
    """

    group: HeadGroup
    kept: Head
    all_but_one: Interval
    everything: Interval
    repeated: tuple[Interval, Interval, Interval] | None = None

    def sentences(self, tolerance: float) -> Iterator[str]:
        """Yield the costs in words, for one of the heads."""
        yield f"It is one of {self.group.name}."
        yield from self._costs(tolerance)

    def summary(self, tolerance: float) -> str:
        """Return the group and its costs in words."""
        return " ".join((f"{self.group.name}.", *self._costs(tolerance)))

    def _costs(self, tolerance: float) -> Iterator[str]:
        others, every = f"removing all of them but {self.kept.label}", "removing all of them"
        if len(self.group.heads) == 2:
            (other,) = (one for one in self.group.heads if one != self.kept)
            others, every = f"removing {other.label} alone", "removing both"
        for change, what in ((self.all_but_one, others), (self.everything, every)):
            if sentence := removal_sentence(change, tolerance, what):  # empty: no finite loss
                yield sentence
        if self.repeated is not None and all(np.isfinite(one.mean) for one in self.repeated):
            one, but_one, whole = self.repeated
            yield (
                "Where random tokens repeat, removing one of them changes the loss of the second "
                f"copy by at most {change_in_nats(one.mean)} nats per token."
            )
            yield (
                f"There, {others} changes it by {per_token(but_one)}, and {every} by "
                f"{per_token(whole)}."
            )


def plain_group(removal: GroupRemoval, tolerance: float) -> dict[str, Any]:
    """Return a removal as plain values for JSON."""
    repeated = removal.repeated or (None, None, None)
    names = ("one", "all_but_one", "all")
    return {
        "heads": [one.label for one in removal.group.heads],
        "kind": removal.group.heads[0].kind,
        "function": removal.group.function and str(removal.group.function),
        "kept": removal.kept.label,
        "summary": removal.summary(tolerance),
        "all_but_one": asdict(removal.all_but_one),
        "all": asdict(removal.everything),
        "repeated": {
            name: asdict(one) for name, one in zip(names, repeated, strict=True) if one is not None
        },
    }


def copies(measures: Measures, thresholds: Thresholds) -> list[HeadGroup]:
    """Return the groups of at least three heads of a layer with equal rows and equal outputs.

    Heads belong together if a chain of redundant pairs connects them.
    """
    groups = []
    for kind, pairs in measures.pairs.items():
        near = (pairs.head_distance.mean < thresholds.redundant_distance) & (
            pairs.output_cosine.mean > thresholds.redundant_cosine
        )
        for layer, table in enumerate(near):
            left = set(range(len(table)))
            while left:
                group, edge = set(), {min(left)}
                while edge:
                    group |= edge
                    edge = {int(j) for i in edge for j in np.flatnonzero(table[i])} - group
                left -= group
                if len(group) > 2:
                    groups.append(HeadGroup(tuple(Head(kind, layer, one) for one in sorted(group))))
    return groups


def same_function(findings: Sequence[Finding]) -> list[HeadGroup]:
    """Return the groups of at least two heads of a kind with the same function."""
    by_function: dict[tuple[str, HeadFunction], list[Head]] = {}
    for one in findings:
        if one.function not in (None, HeadFunction.OFFSET):  # at different distances
            by_function.setdefault((one.head.kind, one.function), []).append(one.head)
    return [
        HeadGroup(tuple(heads), function)
        for (_, function), heads in by_function.items()
        if len(heads) > 1
    ]
