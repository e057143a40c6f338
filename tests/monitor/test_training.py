"""Trainings in which induction forms, and in which the entropy collapses."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from attnviz import AttentionMonitor
from attnviz.monitor import COLLAPSED, ONSET
from tests.monitor.runs import Both, small_gpt, trainer


@pytest.mark.slow
def test_induction_is_seen_when_it_forms(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "attnviz.monitor")
    model, monitor = small_gpt(), AttentionMonitor(every=10)
    trainer(model, tmp_path, [monitor], steps=260, batch=32, optimizer=Both(model)).train()
    curve = monitor.history["attention/induction/max"]
    assert list(curve.index) == list(range(0, 261, 10))
    assert curve[0] < 0.1  # chance
    assert curve[260] > 0.45
    onset = monitor.onset()
    assert onset is not None and 50 < onset < 260
    assert (curve[curve.index < onset] < ONSET).all() and curve[onset] >= ONSET
    assert any(f"step {onset}: induction begins: L1·H" in one for one in caplog.messages)
    assert monitor.warnings == []  # heads grow sharp when they learn; that is no collapse


def test_a_learning_rate_that_is_far_too_high_collapses_the_entropy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, monitor = small_gpt(), AttentionMonitor(every=5)
    far_too_high = torch.optim.AdamW(model.parameters(), lr=0.3)
    trainer(model, tmp_path, [monitor], steps=40, optimizer=far_too_high).train()
    first = monitor.warnings[0]
    assert first.entropy < COLLAPSED < first.before
    curve = monitor.history[f"attention/normalized_entropy/L{first.layer}"]
    assert curve[first.step] == first.entropy and curve[0] > 0.5
    assert caplog.messages.count(str(first)) == 1  # once, though the layer stays down
    assert ("attnviz.monitor", logging.WARNING, str(first)) in caplog.record_tuples
    assert [one.layer for one in monitor.warnings].count(first.layer) == 1


class Sharpen(TrainerCallback):
    """Makes the queries of a layer larger at one step, and as they were at another."""

    def __init__(self, layer: int, at: int, back: int) -> None:
        self.layer, self.at, self.back = layer, at, back

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any, **rest: Any) -> None:
        factor = {self.at: 200.0, self.back: 1 / 200.0}.get(state.global_step)
        if factor is not None:
            with torch.no_grad():
                width = model.config.n_embd
                attention = model.transformer.h[self.layer].attn.c_attn
                attention.weight[:, :width] *= factor
                attention.bias[:width] *= factor


def test_each_collapse_is_told_once_and_again_after_recovery(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, monitor = small_gpt(), AttentionMonitor(every=2)
    events = [Sharpen(1, 4, 10), Sharpen(1, 14, 99), monitor]
    trainer(model, tmp_path, events, steps=20, learning_rate=1e-5).train()
    assert [(one.step, one.layer) for one in monitor.warnings] == [(6, 1), (16, 1)]
    assert sum("has collapsed" in one for one in caplog.messages) == 2
    assert "self-attention of layer 1" in str(monitor.warnings[0])
    down = monitor.history["attention/collapsed_layers"]
    assert list(down[down > 0].index) == [6, 8, 10, 16, 18, 20]


def test_weights_that_are_no_numbers_any_more_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Break(TrainerCallback):
        def on_step_begin(
            self, args: Any, state: Any, control: Any, model: Any, **rest: Any
        ) -> None:
            if state.global_step == 4:
                with torch.no_grad():
                    model.transformer.h[1].attn.c_attn.weight.fill_(float("nan"))

    monitor = AttentionMonitor(every=2)
    trainer(small_gpt(), tmp_path, [Break(), monitor], steps=8).train()
    assert [(one.step, one.layer) for one in monitor.warnings] == [(6, 0), (6, 1)]
    assert "no longer a number" in str(monitor.warnings[0])
    assert list(monitor.history.index) == [0, 2, 4, 6, 8]
    # The optimizer has spread the NaN to all weights; two heads each is the whole model.
    assert list(monitor.history["attention/not_finite/L1"].dropna().index) == [6, 8]
    assert any("NaN or infinity in the weights: transformer.wte" in one for one in caplog.messages)


@pytest.mark.parametrize("weight", ["transformer.h.1.attn.c_attn.weight", "lm_head.weight"])
def test_weights_that_never_were_numbers_are_told_at_the_first_look(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, weight: str
) -> None:
    model, monitor = small_gpt(), AttentionMonitor(every=2)
    with torch.no_grad():
        model.get_parameter(weight)[0, 0] = float("nan")
    steps = trainer(model, tmp_path, [monitor], steps=2).train().global_step
    assert steps == 2
    assert sum("NaN or infinity in the weights" in one for one in caplog.messages) == 1
    first = monitor.warnings[0]
    assert (first.step, first.layer) == (0, 1 if "h.1" in weight else 0)
    assert "from the first look on" in str(first)
    assert not monitor.history.isin([float("inf")]).any(axis=None)
