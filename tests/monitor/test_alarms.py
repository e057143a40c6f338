"""Findings in curves: alarms and onsets, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attnviz.errors import InputError
from attnviz.monitor.curves import (
    COLLAPSED,
    FALLEN,
    RECOVERED,
    Row,
    alarms,
    collapsed_layers,
    curves,
    onset,
)
from attnviz.monitor.interval import FIRST_INTERVAL, SHARE, MeasuringInterval

NAN = math.nan


def entropy(*values: float, layer: str = "L0") -> list[Row]:
    name = f"attention/normalized_entropy/{layer}"
    return [(10 * i, {} if math.isnan(one) else {name: one}) for i, one in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ((0.9, 0.5, 0.2, 0.06), []),  # grows sharp, and stays above the threshold
        ((0.9, 0.5, 0.04, 0.01, 0.0), [20]),  # once
        ((0.9, 0.04, 0.06, 0.04), [10]),  # has not recovered in between
        ((0.9, 0.04, 0.11, 0.04), [10, 30]),  # has
        ((0.04, 0.03, 0.03), []),  # came like that
        ((0.04, 0.03, 0.01), [20]),  # came sharp, and lost more than half of it
        ((0.9, NAN, NAN, 0.5, NAN), [10, 40]),  # no number, a number, no number
        ((NAN, 0.9), []),
        ((0.9,), []),
        ((), []),
    ],
)
def test_alarms(values: tuple[float, ...], steps: list[int]) -> None:
    assert [one.step for one in alarms(entropy(*values))] == steps


def test_heads_that_are_not_finite_are_an_alarm_from_the_first_step_on() -> None:
    broken = {"attention/not_finite/cross.L1": 1.0}
    rows: list[Row] = [(0, broken), (10, broken), (20, {}), (30, broken)]
    assert [(one.step, one.kind, one.layer) for one in alarms(rows)] == [(0, "cross", 1)]
    name = "attention/normalized_entropy/cross.L1"
    rows = [(0, {name: 0.8}), (10, broken), (20, {name: 0.8}), (30, broken | {name: 0.8})]
    assert [one.step for one in alarms(rows)] == [10, 30]
    assert [collapsed_layers(rows[: end + 1]) for end in range(4)] == [0, 1, 0, 1]
    scores = {("self", "not_finite"): np.array([[0, 0.5], [0, 0]], np.float32)}
    assert curves(scores, True) == {"attention/not_finite/L0": 1.0}  # type: ignore[arg-type]


def test_layers_that_are_down_are_counted() -> None:
    rows = entropy(0.9, 0.01, 0.02, 0.5, 0.01)
    both = [(step, row | {"attention/normalized_entropy/L1": 0.6}) for step, row in rows]
    assert [collapsed_layers(both[: end + 1]) for end in range(5)] == [0, 1, 1, 0, 1]
    assert collapsed_layers([*rows, *entropy(0.9, layer="L1"), (99, {})]) == 2  # L1: no number
    assert collapsed_layers([]) == 0


def test_thresholds_leave_room_to_recover() -> None:
    assert 0 < COLLAPSED < RECOVERED < 1 and 0 < FALLEN < 1


def test_alarms_name_their_layer_and_kind_and_come_in_order() -> None:
    first = entropy(0.9, 0.9, 0.01, layer="cross.L3")
    second = entropy(0.9, 0.01, 0.9, layer="decoder.L12")
    rows = [(step, {**one, **other}) for (step, one), (_, other) in zip(first, second, strict=True)]
    raised = alarms(rows)
    assert [(one.step, one.kind, one.layer) for one in raised] == [
        (10, "decoder", 12),
        (20, "cross", 3),
    ]
    assert "cross-attention of layer 3" in str(raised[1]) and "0.010" in str(raised[1])
    assert "from 0.90" in str(raised[1])


def test_single_heads_raise_no_alarm() -> None:
    assert alarms(entropy(0.9, 0.0, layer="L0.H1")) == []


def test_onset_is_the_first_step_at_the_threshold() -> None:
    rows = [(step, {"attention/induction/max": v}) for step, v in ((0, 0.1), (5, 0.3), (9, 0.2))]
    assert onset(rows, "induction") == 5
    assert onset(rows, "induction", 0.31) is None
    assert onset(rows, "previous_token") is None
    assert onset([(4, {"attention/induction/decoder.max": 0.9})], "induction") == 4


def test_curves_leave_out_what_is_no_number() -> None:
    scores = {
        ("self", "entropy"): np.array([[1.0, 3.0], [NAN, 2.0]], np.float32),
        ("self", "induction"): np.array([[0.1, 0.7], [NAN, NAN]], np.float32),
        ("cross", "sink"): np.array([[0.5, 0.25]], np.float32),
    }
    assert curves(scores, every_head=False) == {
        "attention/entropy/L0": 2.0,
        "attention/induction/L0": pytest.approx(0.7),
        "attention/induction/max": pytest.approx(0.7),
        "attention/sink/cross.L0": 0.375,
    }
    heads = curves(scores, every_head=True)
    assert heads["attention/entropy/L1.H1"] == 2.0 and "attention/entropy/L1.H0" not in heads


def interval_after(step: float, cost: float, every: int | None = None) -> MeasuringInterval:
    interval = MeasuringInterval(every)
    interval._steps.extend([step] * 9)
    interval.cost = cost
    return interval


@pytest.mark.parametrize(
    ("step", "cost", "interval"),
    [(1.0, 0.1, 10), (1.0, 0.11, 20), (1.0, 1.0, 160), (0.01, 0.1, 1280), (1.0, 0.0, 10)],
)
def test_the_interval_keeps_the_cost_in_bounds(step: float, cost: float, interval: int) -> None:
    measured = interval_after(step, cost)
    assert measured.interval == interval
    assert cost <= SHARE * interval * step * (1 + 1e-9)
    assert measured.due(interval) and not measured.due(interval + FIRST_INTERVAL // 2)


def test_an_interval_that_is_given_is_kept() -> None:
    interval = interval_after(0.001, 10.0, every=3)
    assert [step for step in range(1, 10) if interval.due(step)] == [3, 6, 9]
    with pytest.raises(InputError, match="every 1 step or more, not every 0"):
        MeasuringInterval(0)


def test_a_slow_first_step_does_not_decide() -> None:
    interval = interval_after(1.0, 1.0)
    interval._steps.appendleft(600.0)  # compiling
    assert interval.interval == 160
