"""Faults of single heads during a training: rules, marks in the curves, and warnings."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from attnviz.monitor.curves import COLLAPSED, PATTERNS, PREFIX, Row
from attnviz.monitor.probe import OUTPUT_SHARE, Scores
from attnviz.types import KIND_LABELS, Head, Kind
from attnviz.written_numbers import significant

__all__ = ["FAULTS", "Fault", "HeadAlarm", "fault_marks", "head_alarms"]

FUNCTION = 0.5
"""A sharp head that gives a pattern or one key this share of its weight has a known function."""

NAMED = 8
"""Heads that a sentence lists; of the others it has the number."""


@dataclass(frozen=True)
class Fault:
    """Fault that a head can get during a training.

    Attributes:
        name: of the curve of a head that has it.
        metric: what it is seen in.
        above: True if the metric is above its limit in a head with the fault.
        limit: where the fault begins.
        healthy: the head has been beyond this before; what never was is no fault of the training.
        over: where the fault ends. Apart from the limit, so that noise is not several faults.
        text: what such a head does.
        times: the head has had more than so many times what it has now.
        probes: the head has been healthy at one of so many probes before; at any of them if 0.
    """

    name: str
    metric: str
    above: bool
    limit: float
    healthy: float
    over: float
    text: str
    times: float = 0.0
    probes: int = 0

    def beyond(self, values: np.ndarray, limit: float) -> Bool[np.ndarray, ...]:
        """Return a mask of the values on the fault's side of a limit; False for NaN."""
        mask: np.ndarray = values > limit if self.above else values < limit
        return mask


FAULTS = (
    Fault(
        "uniform", "normalized_entropy", True, 0.99, 0.8, 0.95,
        "spread their weight evenly, with an entropy above 0.99 of what their keys allow, and "
        "below 0.80 one or two probes before",
        probes=2,
    ),
    Fault(
        "peaked", "normalized_entropy", False, 0.01, 0.1, 0.02,
        "look at one key per row in no known pattern, with an entropy below 0.01 of what their "
        "keys allow, and above 0.10 before",
    ),
    Fault(
        "dead", OUTPUT_SHARE, False, 0.0025, 0.0025, 0.005,
        "add next to nothing: vectors of less than 0.0025 of the residual stream's length, and of "
        "less than a fortieth of what they had before",
        times=40.0,
    ),
)  # fmt: skip
"""Chosen here, so that heads of ordinary trainings do not cross them: there, entropies rose from
0.57 to 0.97 within a probe, and shares fell to a twelfth. A head that drifts from 0.77 to 0.99 in a
hundred steps is not broken, so that the last two probes count. Peaked is the doctor's limit of
collapse. Dead is 2.5 times the doctor's: an optimiser moves a weight that was reset away from zero
within a step."""


@dataclass(frozen=True)
class HeadAlarm:
    """Heads that got a fault at one step.

    Attributes:
        step: when it was seen.
        fault: name of the fault: "uniform", "peaked" or "dead".
        heads: which heads, in the order of their layers.
        values: the metric of each head at this step.
    """

    step: int
    fault: str
    heads: tuple[Head, ...]
    values: tuple[float, ...]

    def __str__(self) -> str:
        """Return what happened and what to look at, in sentences."""
        (text,) = (fault.text for fault in FAULTS if fault.name == self.fault)
        listed = ", ".join(
            f"{head.label} ({significant(value, 3)})"
            for head, value in zip(self.heads[:NAMED], self.values, strict=False)
        )
        more = f" and {len(self.heads) - NAMED} more" if len(self.heads) > NAMED else ""
        return (
            f"step {self.step}: heads that now {text}: {listed}{more}. If that was not intended, "
            "look for a weight that was reset, frozen or masked, or for a too large step, and go "
            "back to a checkpoint from before"
        )


def fault_marks(earlier: Sequence[Scores], scores: Scores, last: Row | None) -> dict[str, float]:
    """Return a curve for each head that has a fault now: the value of the fault's metric.

    `attention/dead/L0.H3` is left out while the head has no such fault. A fault begins when the
    metric crosses its limit and the head has been healthy before; it lasts until the metric is
    back.

    Args:
        earlier: metrics of all earlier probes of this training.
        scores: those of this probe.
        last: the row of curves before, with the marks of then.
    """
    before = {} if last is None else last[1]
    marks: dict[str, float] = {}
    for fault in FAULTS:
        for (kind, metric), values in scores.items():
            if metric != fault.metric:
                continue
            new = fault.beyond(values, fault.limit) & _was_healthy(fault, kind, earlier, values)
            if fault.name == "peaked":
                new &= _without_function(kind, scores) & (
                    values.mean(-1, keepdims=True) > COLLAPSED
                )
            lasting = fault.beyond(values, fault.over)
            for layer, head in np.ndindex(*values.shape):
                name = _name(fault, Head(kind, layer, head))
                if new[layer, head] or (lasting[layer, head] and name in before):
                    marks[name] = float(values[layer, head])
    return marks


def _was_healthy(
    fault: Fault, kind: Kind, earlier: Sequence[Scores], values: Float[np.ndarray, "layer head"]
) -> Bool[np.ndarray, "layer head"]:
    """Return a mask of the heads that have been far from the fault at an earlier probe."""
    best: Callable[..., np.ndarray] = np.fmin if fault.above else np.fmax
    extreme = np.full(values.shape, math.nan, np.float32)
    for scores in earlier[-fault.probes :]:
        extreme = best(extreme, scores.get((kind, fault.metric), extreme))
    if fault.above:
        return np.asarray(extreme < fault.healthy)
    return np.asarray((extreme > fault.healthy) & (extreme > fault.times * values))


def _without_function(kind: Kind, scores: Scores) -> Bool[np.ndarray, "layer head"]:
    """Return a mask of the heads with no pattern and no sink; none where none was measured."""
    tables = [
        table
        for (one, name), table in scores.items()
        if one == kind and name in (*PATTERNS, "sink")
    ]
    if not tables:
        return np.zeros((1, 1), bool)
    return np.asarray(~(np.stack(tables) >= FUNCTION).any(0))


def _name(fault: Fault, head: Head) -> str:
    kind = "" if head.kind == "self" else f"{head.kind}."
    return f"{PREFIX}{fault.name}/{kind}L{head.layer}.H{head.head}"


MARK = re.compile(
    rf"{PREFIX}({'|'.join(fault.name for fault in FAULTS)})/(?:(\w+)\.)?L(\d+)\.H(\d+)"
)


def head_alarms(rows: Sequence[Row]) -> list[HeadAlarm]:
    """Return the faults of heads in the order of their steps, heads of one step and fault together.

    Worked out from the marks in the curves, so that a training that was interrupted has all.
    """
    alarms: list[HeadAlarm] = []
    before: set[str] = set()
    for step, row in rows:
        marks = {name: match for name in row if (match := MARK.fullmatch(name))}
        for fault in FAULTS:
            new = [
                (_head(match), row[name])
                for name, match in marks.items()
                if match[1] == fault.name and name not in before
            ]
            if new:
                heads, values = zip(*new, strict=True)
                alarms.append(HeadAlarm(step, fault.name, heads, values))
        before = set(marks)
    return alarms


def _head(match: re.Match[str]) -> Head:
    kind = next(one for one in KIND_LABELS if one == (match[2] or "self"))
    return Head(kind, int(match[3]), int(match[4]))
