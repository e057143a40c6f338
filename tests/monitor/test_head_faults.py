"""Faults of single heads: rules by hand, and heads that are broken during a training."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from attnviz import AttentionMonitor
from attnviz.captures.forward_pass import capture_ids
from attnviz.captures.output_share import output_shares
from attnviz.models import instrument
from attnviz.monitor.curves import Row
from attnviz.monitor.head_faults import FAULTS, fault_marks, head_alarms
from attnviz.monitor.probe import Scores, make_probe
from attnviz.types import Head
from tests.monitor.runs import small_gpt, trainer

NAN = math.nan


def scores(**values: float) -> Scores:
    """Return metrics of a layer of two heads; the second one is ordinary."""
    plain = {"normalized_entropy": 0.5, "output_share": 0.1, "sink": 0.1, "induction": 0.1}
    return {
        ("self", name): np.array([[values.get(name, one), one]], np.float32)
        for name, one in plain.items()
    }


def steps_with(metric: str, *values: float, **rest: float) -> list[Row]:
    """Return the marks of a course of one metric of head L0·H0, a row per value."""
    rows: list[Row] = []
    seen: list[Scores] = []
    for step, value in enumerate(values):
        now = scores(**{metric: value}, **rest)
        rows.append((step, fault_marks(seen, now, rows[-1] if rows else None)))
        seen.append(now)
    return rows


@pytest.mark.parametrize(
    ("metric", "values", "steps"),
    [
        ("normalized_entropy", (0.99, 0.98, 1.0), []),  # an untrained head
        ("normalized_entropy", (0.99, 0.57, 0.97), []),  # an ordinary training
        ("normalized_entropy", (0.99, 0.7, 0.995, 1.0, 1.0), [2]),  # once
        ("normalized_entropy", (0.3, 0.995, 0.97, 0.995), [1]),  # has not recovered in between
        ("normalized_entropy", (0.3, 0.995, 0.7, 0.995), [1, 3]),  # has
        ("normalized_entropy", (0.77, 0.94, 0.97, 0.995), []),  # drifts there
        ("normalized_entropy", (0.7, 0.94, 0.995), [2]),
        ("normalized_entropy", (0.85, 0.995), []),  # never had a choice
        ("normalized_entropy", (0.3, NAN, 1.0), [2]),
        ("normalized_entropy", (0.5, 0.009), [1]),
        ("normalized_entropy", (0.09, 0.009), []),  # always was sharp
        ("output_share", (0.2, 0.002), [1]),
        ("output_share", (0.2, 0.002, 0.004, 0.002), [1]),
        ("output_share", (0.2, 0.002, 0.006, 0.002), [1, 3]),
        ("output_share", (0.07, 0.002), []),  # a slow fall
        ("output_share", (0.002, 0.0), []),  # always was quiet
        ("output_share", (NAN, NAN), []),
        ("output_share", (0.2,), []),
    ],
)
def test_a_fault_begins_and_ends(metric: str, values: tuple[float, ...], steps: list[int]) -> None:
    alarms = head_alarms(steps_with(metric, *values))
    assert [one.step for one in alarms] == steps
    assert {one.heads for one in alarms} <= {(Head("self", 0, 0),)}


@pytest.mark.parametrize("function", ["induction", "sink"])
def test_a_sharp_head_with_a_function_is_no_fault(function: str) -> None:
    assert head_alarms(steps_with("normalized_entropy", 0.5, 0.001, **{function: 0.9})) == []
    assert head_alarms(steps_with("normalized_entropy", 0.5, 0.001, **{function: 0.4}))


def test_a_layer_that_has_collapsed_is_not_listed_head_by_head() -> None:
    before, now = scores(), scores(normalized_entropy=0.001)
    now["self", "normalized_entropy"][0, 1] = 0.001  # type: ignore[index]
    assert fault_marks([before], now, None) == {}


def test_heads_of_one_step_are_one_warning() -> None:
    marks = {f"attention/dead/cross.L0.H{head}": 0.0 for head in range(10)}
    rows: list[Row] = [(0, {}), (5, marks | {"attention/uniform/L3.H1": 0.995}), (9, marks)]
    alarms = head_alarms(rows)
    assert [(one.step, one.fault, len(one.heads)) for one in alarms] == [
        (5, "uniform", 1),
        (5, "dead", 10),
    ]
    assert "L3·H1 (0.995)" in str(alarms[0]) and "evenly" in str(alarms[0])
    assert f"{Head('cross', 0, 7).label} (0)" in str(alarms[1])
    assert "and 2 more" in str(alarms[1])


class Break(TrainerCallback):
    """Keeps a part of L1·H0 at zero, or multiplies its queries once, from a step on."""

    def __init__(self, part: str, at: int) -> None:
        self.part, self.at = part, at

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **rest: Any) -> None:
        attention, width = model.transformer.h[1].attn, model.config.n_embd
        size = width // model.config.n_head
        for tensor in (attention.c_attn.weight, attention.c_attn.bias):
            if self.part == "query" and state.global_step >= self.at:
                tensor[..., :size] = 0
            if self.part == "value" and state.global_step >= self.at:
                tensor[..., 2 * width : 2 * width + size] = 0
            if self.part == "sharp" and state.global_step == self.at:
                tensor[..., :size] *= 1e6
        if self.part == "projection" and state.global_step >= self.at:
            attention.c_proj.weight[:size] = 0


@pytest.mark.parametrize(
    ("part", "fault"),
    [("query", "uniform"), ("value", "dead"), ("projection", "dead"), ("sharp", "peaked")],
)
def test_a_head_that_breaks_is_a_warning_at_the_next_probe(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, part: str, fault: str
) -> None:
    model, monitor = small_gpt(n_head=4), AttentionMonitor(every=4)
    with torch.no_grad():  # a head that has a choice, and makes it
        attention = model.transformer.h[1].attn.c_attn
        attention.weight[:, :128] *= 3
    events = [Break(part, 10), monitor]
    trainer(model, tmp_path, events, steps=20, learning_rate=1e-4).train()
    assert [(one.step, str(one.fault), one.heads) for one in monitor.warnings] == [  # type: ignore[union-attr]
        (12, fault, (Head("self", 1, 0),))
    ]
    curve = monitor.history[f"attention/{fault}/L1.H0"].dropna()
    assert list(curve.index) == [12, 16, 20]
    assert list(monitor.history["attention/broken_heads"]) == [0, 0, 0, 1, 1, 1]
    warnings = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert [one.message for one in warnings if one.name == "attnviz.monitor"] == [
        str(monitor.warnings[0])
    ]


def test_a_training_that_goes_on_knows_the_fault(tmp_path: Path) -> None:
    options = {"save_strategy": "steps", "save_steps": 12, "learning_rate": 1e-4}
    whole = AttentionMonitor(every=4, per_head=False)
    model = small_gpt(n_head=4)
    trainer(model, tmp_path, [Break("value", 10), whole], steps=20, **options).train()
    again = AttentionMonitor(every=4, per_head=False)
    rest = [Break("value", 10), again]
    trainer(small_gpt(1, n_head=4), tmp_path, rest, steps=20, **options).train(
        resume_from_checkpoint=str(tmp_path / "checkpoint-12")
    )
    assert [str(one) for one in again.warnings] == [str(one) for one in whole.warnings]
    assert [one.step for one in again.warnings] == [12]


def test_the_share_of_a_head_is_the_length_of_what_it_adds() -> None:
    """By hand: weights times values times the slice of the output projection."""
    model = small_gpt(n_head=4).eval()
    instrumented = instrument(model)
    text = make_probe(instrumented, None).sequences[-1]
    (shares,) = output_shares(instrumented, text).values()
    ids = torch.tensor([text.ids])
    with torch.no_grad():
        streams = model.transformer(ids, output_hidden_states=True).hidden_states
    stack = capture_ids(instrumented, [text])[0]["self"]
    for layer, head in np.ndindex(2, 4):
        mixed_values = stack.weights(layer, head) @ stack.value(layer, head)
        projection = model.transformer.h[layer].attn.c_proj.weight.detach().numpy()
        added = mixed_values @ projection[head * 16 : (head + 1) * 16]
        stream = streams[layer][0].numpy()
        expected = (np.linalg.norm(added, axis=-1) / np.linalg.norm(stream, axis=-1)).mean()
        assert shares[layer, head] == pytest.approx(expected, rel=1e-3)


def test_limits_leave_room_to_recover() -> None:
    for fault in FAULTS:
        ordered = [fault.healthy, fault.over, fault.limit]
        assert ordered == sorted(ordered, reverse=not fault.above) or fault.name == "dead"
        assert fault.beyond(np.array([fault.limit]), fault.over).all()
