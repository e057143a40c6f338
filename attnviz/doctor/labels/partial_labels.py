"""Labels that hold on a part of the texts: two clearly separate groups of texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attnviz.doctor.labels.number_words import number
from attnviz.doctor.labels.rule_table import Side
from attnviz.doctor.labels.thresholds import Thresholds
from attnviz.doctor.measures.descriptions import describe
from attnviz.findings import Label

__all__ = ["Partial", "partial_labels"]

FEWEST_TEXTS = 3
LEAST_SHARE = 0.1
SEPARATION = 2.4
"""Distance of the two groups' means, divided by the sum of their standard deviations. One group
that a limit cuts in two has less: 1.3 if it is normal, 1.7 if it is even, 1.6 for the tenth of an
exponential above its 90% quantile."""

CONDITIONS: tuple[tuple[Label, str, Side, str], ...] = (
    ("dead", "output_share", Side.BELOW, "dead_output"),
    ("uniform", "lowest_entropy", Side.ABOVE, "uniform_entropy"),
    ("peaked", "normalized_entropy", Side.BELOW, "peaked_entropy"),
    ("sink", "rest", Side.ABOVE, "sink_mass"),
)
"""Label, measure, side and limit; only measures that every text has."""


@dataclass(frozen=True)
class Partial:
    """Label that a head has on a part of the texts.

    Attributes:
        label: the label.
        measure: name of the measure that tells the texts apart.
        count: number of texts with the label.
        texts: number of texts with the measure.
        inside: mean of the measure over the texts with the label.
        outside: mean over the others.
    """

    label: Label
    measure: str
    count: int
    texts: int
    inside: float
    outside: float

    @property
    def name(self) -> str:
        """Return "uniform on 28 of 60 texts"."""
        return f"{self.label} on {self.count} of {self.texts} texts"

    @property
    def sentence(self) -> str:
        """Return the finding in words."""
        what = describe(self.measure).label
        return (
            f"On {self.count} of {self.texts} texts it is {self.label} and on the others not: "
            f"{what[:1].lower()}{what[1:]} is {number(self.inside)} and {number(self.outside)}."
        )


def partial_labels(
    values: Mapping[str, Float[np.ndarray, " text"]], thresholds: Thresholds
) -> Iterator[Partial]:
    """Yield the labels that one head has on some of its texts and clearly not on the others.

    Args:
        values: measures of the head per text.
        thresholds: limits of the rules.
    """
    for label, measure, side, limit in CONDITIONS:
        known = values.get(measure, np.empty(0)).astype(np.float64)
        known = known[~np.isnan(known)]
        border = getattr(thresholds, limit)
        inside = known > border if side is Side.ABOVE else known < border
        count, texts = int(inside.sum()), len(known)
        if min(count, texts - count) < max(FEWEST_TEXTS, LEAST_SHARE * texts):
            continue
        one, other = known[inside], known[~inside]
        if abs(one.mean() - other.mean()) > SEPARATION * (one.std() + other.std()):
            yield Partial(label, measure, count, texts, float(one.mean()), float(other.mean()))
