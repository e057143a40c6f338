"""The doctor's nouns: what was measured of a head, what it is called for it, and why.

Everything here is frozen and free of torch, so that tables, figures and reports can be made from it
anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from attnviz.types import Head

__all__ = [
    "DEGENERATE",
    "LABELS",
    "LABEL_MEANINGS",
    "REPLACEMENTS",
    "Evidence",
    "Finding",
    "Interval",
    "Label",
    "Progress",
    "Replacement",
    "Verdict",
]

Label = Literal[
    "dead", "uniform", "peaked", "redundant", "sink", "specialised", "positional", "healthy"
]
"""What a head is called. A head that fits several gets the first of these; the others are kept."""

LABELS: tuple[Label, ...] = get_args(Label)

LABEL_MEANINGS: Mapping[Label, str] = {
    "dead": "It adds next to nothing to the text's vectors.",
    "uniform": "It spreads its weight evenly, whatever the text says.",
    "peaked": "It puts all weight on one key and follows no pattern that is known to be useful.",
    "redundant": "Another head of its layer does the same.",
    "sink": "It pours its weight into one key that has nothing to do with the query.",
    "specialised": "It follows a known, useful pattern.",
    "positional": "It looks at the same places whatever the text says.",
    "healthy": "None of the others: it looks at different keys for different texts.",
}

DEGENERATE: tuple[Label, ...] = ("dead", "uniform", "peaked", "redundant")
"""Labels that claim a head to be of no use by themselves. A sink is one only when it is broken."""

Replacement = Literal["zero", "mean", "uniform"]
"""What an ablated head's output is replaced by: nothing; its own mean over positions and texts; or
the plain average of the values its query can see."""

REPLACEMENTS: tuple[Replacement, ...] = get_args(Replacement)

Verdict = Literal["confirmed", "contradicted", "open", "untested"]
"""What ablation says of a label. `open`: the interval allows both; `untested`: nothing was ablated,
or the label claims nothing that ablation could tell."""


@dataclass(frozen=True)
class Interval:
    """A number over several texts.

    Attributes:
        mean: over the texts where it exists; NaN where it exists in none.
        low: lower end of the bootstrap 95% interval of the mean; NaN with fewer than two texts.
        high: upper end.
        spread: standard deviation over texts; NaN with fewer than two.
        texts: in how many texts it exists.
    """

    mean: float
    low: float
    high: float
    spread: float
    texts: int


@dataclass(frozen=True)
class Evidence:
    """A number that a label rests on, beside the threshold it was held against.

    Attributes:
        measure: its key among the diagnosis' measures.
        label: for people.
        unit: "nats", "tokens", or "" for a share.
        value: over the texts.
        threshold: what it was compared with.
        above: whether the rule asks for more than the threshold, or for less.
    """

    measure: str
    label: str
    unit: str
    value: Interval
    threshold: float
    above: bool


@dataclass(frozen=True)
class Finding:
    """What the doctor says of one head.

    Attributes:
        head: which.
        label: what it is called.
        detail: which kind of it: "previous token", "resting", "working", "broken", "with L0·H3".
        partner: the head it repeats, where it is redundant.
        also: other labels whose rules it fits, as "label: detail".
        evidence: the numbers of the rule that fired.
        ablation: loss change per token when its output is replaced, nats, by replacement; empty
            where nothing was ablated.
        verdict: what ablation says of the label.
        sentences: all of this in words, most important first.
    """

    head: Head
    label: Label
    detail: str = ""
    partner: Head | None = None
    also: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    ablation: Mapping[Replacement, Interval] = field(default_factory=dict)
    verdict: Verdict = "untested"
    sentences: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The label with its detail: "sink: resting"."""
        return f"{self.label}: {self.detail}" if self.detail else self.label

    @property
    def degenerate(self) -> bool:
        """Whether the label says that the head is of no use, rightly or not."""
        return self.label in DEGENERATE or (self.label == "sink" and self.detail == "broken")


@dataclass(frozen=True)
class Progress:
    """How far something long has come.

    Attributes:
        stage: what is being done, for people.
        share: of the whole, 0 to 1.
        seconds: since it began.
    """

    stage: str
    share: float
    seconds: float

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the share that is done; None before there is anything to go by."""
        if self.share < 0.02:
            return None
        return self.seconds * (1.0 - self.share) / self.share

    @property
    def said(self) -> str:
        """What is being done, and for how long yet: "measuring, about 9 s left"."""
        left = self.seconds_left
        if left is None or self.share > 0.99:
            return self.stage
        if left < 90:
            return f"{self.stage}, about {max(round(left), 1)} s left"
        return f"{self.stage}, about {round(left / 60)} min left"
