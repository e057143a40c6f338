"""Types of a diagnosis: labels, evidence and findings of heads; frozen, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, get_args

from attnviz.types import Head

__all__ = [
    "CLOSE_CALL",
    "DEGENERATE",
    "LABELS",
    "LABEL_MEANINGS",
    "REPLACEMENTS",
    "VERDICT_MEANINGS",
    "Evidence",
    "Finding",
    "HeadFunction",
    "Interval",
    "Label",
    "Progress",
    "Replacement",
    "Verdict",
]

Label = Literal[
    "non-finite",
    "dead",
    "uniform",
    "peaked",
    "redundant",
    "sink",
    "specialised",
    "positional",
    "healthy",
]
"""Labels of heads. A head that fits several gets the first of them; `Finding.also` has the rest."""

LABELS: tuple[Label, ...] = get_args(Label)

LABEL_MEANINGS: Mapping[Label, str] = {
    "non-finite": "It computes NaN or infinity.",
    "dead": "It adds almost nothing to the vectors of the text.",
    "uniform": "It spreads its weight almost evenly on every text.",
    "peaked": "It puts nearly all its weight on one key and follows no pattern known to be useful.",
    "redundant": "Another head of the same layer does the same.",
    "sink": "Much of its weight rests on one place, whatever the query is.",
    "specialised": "It follows a known, useful pattern.",
    "positional": "It looks at the same positions in every text.",
    "healthy": "None of the other labels: it looks at different keys in different texts.",
}

DEGENERATE: tuple[Label, ...] = ("non-finite", "dead", "uniform", "peaked", "redundant")
"""Labels of heads without use. A sink is one of them only if it is broken."""


class HeadFunction(StrEnum):
    """Pattern by which a head moves information; weight on a resting place is none."""

    PREVIOUS = "previous token"
    NEXT = "next token"
    OFFSET = "fixed distance"
    DUPLICATE = "duplicate"
    INDUCTION = "induction"
    ALIGNMENT = "alignment"


Replacement = Literal["zero", "mean", "uniform"]
"""Replacement of an ablated head's output: zero; the head's mean over positions and texts; or the
average of the values at the query's visible keys."""

REPLACEMENTS: tuple[Replacement, ...] = get_args(Replacement)


CLOSE_CALL = "A close call: "
"""Beginning of the sentences on measures whose intervals contain their limits."""


class Verdict(StrEnum):
    """Effect of removing a head on the loss, whatever the label of the head is."""

    NEEDED = "needed"
    NO_DIFFERENCE = "no difference"
    BETTER_WITHOUT = "better without"
    UNCLEAR = "unclear"
    NOT_TESTED = "not tested"


VERDICT_MEANINGS: Mapping[Verdict, str] = {
    Verdict.NEEDED: "Removing the head makes the model worse.",
    Verdict.NO_DIFFERENCE: "Removing the head changes the loss by less than the tolerance.",
    Verdict.BETTER_WITHOUT: "Removing the head makes the model better.",
    Verdict.UNCLEAR: "The interval allows more than one result: the texts are too few.",
    Verdict.NOT_TESTED: "The head was not removed, or the loss is undefined.",
}


@dataclass(frozen=True)
class Interval:
    """Mean of a number over several texts, with its bootstrap interval.

    Attributes:
        mean: over the texts where the number exists; NaN if it exists in none.
        low: lower end of the bootstrap 95% interval of the mean; NaN with fewer than two texts.
        high: upper end of the interval.
        spread: standard deviation over texts; NaN with fewer than two.
        texts: number of texts where the number exists.
    """

    mean: float
    low: float
    high: float
    spread: float
    texts: int


@dataclass(frozen=True)
class Evidence:
    """Measure of a head compared with a threshold: one condition of a label's rule.

    Attributes:
        measure: key among the measures of the diagnosis.
        label: name for tables and sentences.
        unit: "nats", "tokens", or "" for a share.
        value: over the texts.
        threshold: limit of the rule.
        above: True if the rule requires a value above the threshold; False for below.
        variant: variant of the label that this condition decides; "" if it decides the label.
    """

    measure: str
    label: str
    unit: str
    value: Interval
    threshold: float
    above: bool
    variant: str = ""

    @property
    def requirement(self) -> str:
        """Return the condition in words: "more than 0.3", "less than 0.1 for “broken”"."""
        side = "more" if self.above else "less"
        unit = f" {self.unit}" if self.unit else ""
        only = f" for “{self.variant}”" if self.variant else ""
        return f"{side} than {self.threshold:g}{unit}{only}"


@dataclass(frozen=True)
class Finding:
    """Label of one head, with evidence and the result of its ablation.

    Attributes:
        head: address of the head.
        label: first label whose rule the head fits.
        detail: variant of the label: "previous token", "resting", "working", "broken",
            "with L0·H3".
        function: for a specialised head, the pattern it follows; None on a resting place.
        partner: for a redundant head, the head with the same output.
        also: other labels whose rules the head fits, as "label: detail".
        evidence: measures and thresholds of the label's rule.
        ablation: change of the loss per token when the head's output is replaced, nats, by
            replacement; empty if the head was not ablated.
        verdict: effect of removing the head on the loss.
        partial: labels that hold on a part of the texts: "uniform on 28 of 60 texts".
        close: labels that the head would get or lose within the interval of one measure.
        group: heads that do the same, with this one; empty if there are none.
        together: change of the loss without the whole group, nats per token.
        spare: True if the loss does not rise without this head and may rise without its group.
        sentences: the finding in words, most important first.
    """

    head: Head
    label: Label
    detail: str = ""
    function: HeadFunction | None = None
    partner: Head | None = None
    also: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    ablation: Mapping[Replacement, Interval] = field(default_factory=dict)
    verdict: Verdict = Verdict.NOT_TESTED
    partial: tuple[str, ...] = ()
    close: tuple[str, ...] = ()
    group: tuple[Head, ...] = ()
    together: Interval | None = None
    spare: bool = False
    sentences: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Label and detail: "sink: resting"."""
        return f"{self.label}: {self.detail}" if self.detail else self.label

    @property
    def removal(self) -> Interval | None:
        """Change of the loss without the head: by zero if it was tried, else by the first."""
        return self.ablation.get("zero", next(iter(self.ablation.values()), None))

    @property
    def close_calls(self) -> tuple[str, ...]:
        """Sentences on the labels of `close`, without the words that mark them."""
        marked = [one for one in self.sentences if one.startswith(CLOSE_CALL)]
        return tuple(one.removeprefix(CLOSE_CALL) for one in marked)

    @property
    def degenerate(self) -> bool:
        """True if the label is one of heads without use; ablation may contradict it."""
        return self.label in DEGENERATE or (self.label == "sink" and self.detail == "broken")

    @property
    def saturated(self) -> bool:
        """True if a healthy head is as sharp as a peaked one: its evidence has the entropy then."""
        return any(one.variant == "saturated" for one in self.evidence)

    @property
    def contradicted(self) -> bool:
        """True if the head looks degenerate and removing it makes the model worse."""
        return self.degenerate and self.label != "non-finite" and self.verdict is Verdict.NEEDED

    @property
    def useless(self) -> bool:
        """True if the head looks degenerate and neither it nor its group makes a difference."""
        return (
            self.degenerate
            and self.label != "non-finite"
            and self.verdict is Verdict.NO_DIFFERENCE
            and not self.spare
        )


@dataclass(frozen=True)
class Progress:
    """Progress of a long computation.

    Attributes:
        stage: name of the current step, for the screen.
        share: finished part, 0 to 1.
        seconds: time since the start.
    """

    stage: str
    share: float
    seconds: float

    @property
    def seconds_left(self) -> float | None:
        """Estimated remaining time; None before 2% are finished."""
        if self.share < 0.02:
            return None
        return self.seconds * (1.0 - self.share) / self.share

    @property
    def text(self) -> str:
        """Stage and remaining time: "measuring, about 9 s left"."""
        left = self.seconds_left
        if left is None or self.share > 0.99:
            return self.stage
        if left < 90:
            return f"{self.stage}, about {max(round(left), 1)} s left"
        return f"{self.stage}, about {round(left / 60)} min left"
