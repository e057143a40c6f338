"""Table of label rules: measures, sides and limits, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from attnviz.findings import HeadFunction, Label

__all__ = [
    "FIRST",
    "OTHER_PLACE",
    "RULES",
    "SATURATED",
    "SEPARATOR",
    "Condition",
    "Rule",
    "Side",
    "rows_of_table",
]

FIRST, SEPARATOR = "first token", "separators"
FIRST_OR_SEPARATOR = "first token and separators"
OTHER_PLACE = "another token or position"
COLLAPSED = "collapsed"
"""Variants of rules that are no functions."""


class Side(Enum):
    """Side of its limit on which a measure meets a condition."""

    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True)
class Condition:
    """Measure on one side of a limit.

    Attributes:
        measure: name among the measures of a head.
        side: where the mean over texts has to be.
        limit: name of a threshold; "" for a limit of 0.
        unmeasured: True if the condition also holds where the measure does not exist.
        decides: variant of the label that the condition decides; "" if it decides the label.
    """

    measure: str
    side: Side
    limit: str
    unmeasured: bool = False
    decides: str = ""


@dataclass(frozen=True)
class Rule:
    """Label of the heads that meet all conditions.

    Attributes:
        label: the label.
        conditions: all of them have to hold.
        shown: further measures that the evidence has beside the conditions, with their limits.
        variant: name that tells rules of one label apart.
        function: the pattern that the rule finds; None if the label is no pattern.
        excluded_by_function: True if a head with a function cannot have the label.
    """

    label: Label
    conditions: tuple[Condition, ...]
    shown: tuple[Condition, ...] = ()
    variant: str = ""
    function: HeadFunction | None = None
    excluded_by_function: bool = False


def _above(measure: str, limit: str) -> Condition:
    return Condition(measure, Side.ABOVE, limit)


def _below(measure: str, limit: str, *, unmeasured: bool = False, decides: str = "") -> Condition:
    return Condition(measure, Side.BELOW, limit, unmeasured, decides)


_NO_REST = (
    _below("rest", "favourite", unmeasured=True),
    _below("other_rest", "favourite", unmeasured=True),
)

_PATTERNS: Mapping[str, tuple[HeadFunction, str]] = {
    "previous_token": (HeadFunction.PREVIOUS, "previous_token"),
    "next_token": (HeadFunction.NEXT, "next_token"),
    "offset_weight": (HeadFunction.OFFSET, "offset"),
    "repeat_duplicate": (HeadFunction.DUPLICATE, "duplicate"),
    "pair_duplicate": (HeadFunction.DUPLICATE, "duplicate"),
    "repeat_induction": (HeadFunction.INDUCTION, "induction"),
    "alignment": (HeadFunction.ALIGNMENT, "alignment"),
}

RULES: tuple[Rule, ...] = (
    Rule("non-finite", (_above("not_finite", ""),)),
    Rule("dead", (_below("output_share", "dead_output"),)),
    Rule(
        "uniform",
        (
            _above("lowest_entropy", "uniform_entropy"),
            _below("content_dependence", "uniform_dependence", unmeasured=True),
        ),
    ),
    Rule(
        "peaked",
        (_below("normalized_entropy", "collapsed_entropy"), *_NO_REST),
        variant=COLLAPSED,
        excluded_by_function=True,
    ),
    Rule(
        "peaked",
        (
            _below("normalized_entropy", "peaked_entropy"),
            _below("content_dependence", "peaked_dependence", unmeasured=True),
            *_NO_REST,
        ),
        excluded_by_function=True,
    ),
    Rule(
        "redundant",
        (
            _below("head_distance", "redundant_distance"),
            _above("output_cosine", "redundant_cosine"),
        ),
    ),
    Rule(
        "sink",
        (_above("rest", "sink_mass"),),
        (
            _below("sink_value_share", "sink_value", decides="resting"),
            _below("rows_elsewhere", "sink_elsewhere", decides="broken"),
        ),
        variant=FIRST_OR_SEPARATOR,
    ),
    Rule(
        "sink",
        (_above("other_rest", "sink_mass"),),
        (_below("other_elsewhere", "sink_elsewhere", decides="broken"),),
        variant=OTHER_PLACE,
    ),
    *(
        Rule("specialised", (_above(measure, limit),), variant=function, function=function)
        for measure, (function, limit) in _PATTERNS.items()
    ),
    Rule("specialised", (_above("sink_first", "special_token"),), variant=FIRST),
    Rule("specialised", (_above("separators", "special_token"),), variant=SEPARATOR),
    Rule("positional", (_below("content_dependence", "positional_dependence"),)),
    Rule("healthy", (), (_above("content_dependence", "positional_dependence"),)),
)
"""All rules in the order of the labels; a head gets the first label whose rule it meets."""


SATURATED = _below("normalized_entropy", "peaked_entropy", decides="saturated")
"""Shown as evidence of a healthy head that is as sharp as a peaked one: the text decides which key
gets the weight, so that it is not peaked, and the softmax passes almost no gradient."""


def rows_of_table() -> tuple[tuple[str, str, str, str, str], ...]:
    """Return label, measure, side, limit and note of each condition, for the documentation."""
    rows = []
    for rule in RULES:
        name = f"{rule.label}: {rule.variant}" if rule.variant else rule.label
        only = ["only for heads without a function"] if rule.excluded_by_function else []
        for condition in (*rule.conditions, *rule.shown):
            notes = list(only)
            if condition.unmeasured:
                notes.append("or not measured")
            if condition.decides:
                notes.append(f"decides whether it is *{condition.decides}*")
            elif condition in rule.shown:
                notes.append("shown beside, no condition")
            limit = f"`{condition.limit}`" if condition.limit else "0"
            measure, side = f"`{condition.measure}`", condition.side.value
            rows.append((name, measure, side, limit, "; ".join(notes)))
    return tuple(rows)
