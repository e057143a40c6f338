"""Labels, units and meanings of the measures of a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from attnviz import metrics
from attnviz.types import Metric

__all__ = ["OWN", "describe", "names"]

_OWN = (
    Metric(
        "not_finite",
        "Texts with NaN or infinity",
        "",
        "The share of texts on which the head's weights, its values or what it adds hold NaN or "
        "infinity. All other numbers are of the other texts.",
        (0.0, 1.0),
        "computes NaN or infinity on {value} of the texts",
    ),
    Metric(
        "lowest_entropy",
        "Lowest normalized entropy",
        "",
        "The normalized entropy that nine rows in ten exceed: near 1, all of them are uniform.",
        (0.0, 1.0),
        "exceeds {value} of the largest possible entropy in nine rows of ten",
    ),
    Metric(
        "content_dependence",
        "Dependence on the text",
        "nats",
        "How much the text decides where a row looks: 0 when it looks at the same places whatever "
        "the text says.",
        (0.0, None),
        "chooses its keys by the text to {value} nats",
    ),
    Metric(
        "output_share",
        "Size of its output",
        "",
        "The length of what the head adds to the residual stream, beside the length of the vectors "
        "it is added to.",
        (0.0, None),
        "adds vectors {value} times as long as those it adds them to",
    ),
    Metric(
        "separators",
        "Weight on separators",
        "",
        "The mean weight on special tokens behind the first one: [SEP] in BERT, </s> in T5.",
        (0.0, 1.0),
        "gives {value} of its weight to separators",
    ),
    Metric(
        "rest",
        "Weight on resting places",
        "",
        "The mean weight on the first token and on separators together, over the rows that could "
        "look elsewhere.",
        (0.0, 1.0),
        "gives {value} of its weight to the first token and separators",
    ),
    Metric(
        "sink_value_share",
        "Value taken from there",
        "",
        "The part of what the head moves that comes from the first token and separators: weight "
        "times the length of the value.",
        (0.0, 1.0),
        "takes {value} of what it moves from the first token and separators",
    ),
    Metric(
        "rows_elsewhere",
        "Rows that look elsewhere",
        "",
        "The share of rows that give the first token and separators less than half of the weight.",
        (0.0, 1.0),
        "looks mostly elsewhere in {value} of its rows",
    ),
    Metric(
        "other_rest",
        "Weight on another resting place",
        "",
        "The mean weight on the token or position, apart from the first token and separators, that "
        "gets most of it in all texts, over the rows that see it.",
        (0.0, 1.0),
        "gives {value} of its weight to one other token or position",
    ),
    Metric(
        "other_elsewhere",
        "Rows that look elsewhere than there",
        "",
        "The share of rows that give that token or position less than half of the weight.",
        (0.0, 1.0),
        "looks mostly elsewhere in {value} of its rows",
    ),
    Metric(
        "offset_weight",
        "Weight at a fixed offset",
        "",
        "The mean weight at the distance from the query, from 2 to 8 tokens before or after, that "
        "gets most.",
        (0.0, 1.0),
        "gives {value} of its weight to one fixed distance",
    ),
    Metric(
        "repeat_induction",
        "Induction on random tokens",
        "",
        "On random tokens repeated once: the weight on what followed the earlier copy.",
        (0.0, 1.0),
        "gives {value} of its weight to what followed the earlier copy of a random token",
    ),
    Metric(
        "repeat_duplicate",
        "Duplicate on random tokens",
        "",
        "On random tokens repeated once: the weight on the earlier copy.",
        (0.0, 1.0),
        "gives {value} of its weight to the earlier copy of a random token",
    ),
    Metric(
        "repeat_previous",
        "Previous token on random tokens",
        "",
        "On random tokens repeated once: the weight on the token before.",
        (0.0, 1.0),
        "gives {value} of its weight to the token before, among random tokens",
    ),
    Metric(
        "pair_duplicate",
        "Same word in the other sentence",
        "",
        "A text paired with the same words in another order: the weight on the same token in the "
        "other one.",
        (0.0, 1.0),
        "gives {value} of its weight to the same token in the other sentence",
    ),
    Metric(
        "alignment",
        "Alignment",
        "",
        "The weight on the source token that the prediction depends on most, found by hiding them "
        "one by one.",
        (0.0, 1.0),
        "gives {value} of its weight to the source token that the prediction hangs on",
    ),
    Metric(
        "head_distance",
        "Distance to the nearest head",
        "nats",
        "Jensen-Shannon divergence from the most similar head of the layer: 0 looks at the same "
        "keys, 0.69 at no common key.",
        (0.0, float(np.log(2))),
        "is {value} nats away from the nearest head",
    ),
    Metric(
        "output_cosine",
        "Cosine with the nearest head",
        "",
        "How parallel the vectors are that this head and the most similar one add: 1 is the same "
        "direction.",
        (-1.0, 1.0),
        "adds vectors with a cosine of {value} to those of the nearest head",
    ),
)

OWN: Mapping[str, Metric] = {one.name: one for one in _OWN}
"""The doctor's own measures, beside those of the registry."""


def names() -> tuple[str, ...]:
    """Return the names of all measures, the registry's first."""
    return (*metrics.names(), *OWN)


def describe(name: str) -> Metric:
    """Return a measure's label, unit, range and meaning.

    Raises:
        CaptureError: there is no measure of that name.
    """
    return OWN[name] if name in OWN else metrics.describe(name)
