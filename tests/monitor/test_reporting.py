"""Curves reach whatever the Trainer reports to, under their own names, and survive a pause."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import Trainer, TrainerCallback
from transformers.integrations import rewrite_logs

from attnviz import AttentionMonitor
from tests.monitor.runs import Notes, repeats, small_gpt, trainer
from tests.vocabularies import vocabulary

NAMES = {"attention/entropy/L0", "attention/sink/L1.H1", "attention/induction/max"}


def curves(logged: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in logged.items() if name.startswith("attention/")}


def test_every_reporter_is_told_wherever_it_stands(tmp_path: Path) -> None:
    before, after, monitor = Notes(), Notes(), AttentionMonitor(every=2)
    run = trainer(small_gpt(), tmp_path, [before, monitor, after], steps=5, logging_steps=2)
    run.train()
    for notes in (before, after):
        ours = [(step, curves(logged)) for step, logged in notes.logged if curves(logged)]
        assert [step for step, _ in ours] == [0, 2, 4, 5]  # the last step, too
        for step, logged in ours:
            assert logged.keys() >= NAMES
            assert all(type(value) is float for value in logged.values())
            assert logged == monitor.history.loc[step].to_dict()
        # The Trainer's own numbers come at their own steps, as without a monitor.
        assert [step for step, logged in notes.logged if "loss" in logged] == [2, 4]
    assert [row["step"] for row in run.state.log_history if row.keys() >= NAMES] == [0, 2, 4, 5]


def test_names_stay_as_they_are_where_reporters_would_change_them(tmp_path: Path) -> None:
    class Rewriting(Notes):  # as those of TensorBoard, Weights & Biases and others do
        def on_log(
            self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any
        ) -> None:
            super().on_log(args, state, control, rewrite_logs(logs), **rest)

    notes = Rewriting()
    trainer(small_gpt(), tmp_path, [notes, AttentionMonitor(every=2)], steps=2).train()
    names = {name for _, logged in notes.logged for name in logged}
    assert names >= NAMES and "train/train_loss" in names
    assert not any(name.startswith("train/attention") for name in names)
    assert all(type(name) is str for name in names)


def test_tensorboard_has_the_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    monitor = AttentionMonitor(every=2)
    options = {"report_to": ["tensorboard"], "logging_steps": 2}
    trainer(small_gpt(), tmp_path, [monitor], steps=4, **options).train()
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    written = events.Tags()["scalars"]
    assert NAMES | {"train/loss"} <= set(written)
    assert {name for name in written if name.startswith("attention/")} == set(monitor.history)
    for name in NAMES:
        points = [(one.step, one.value) for one in events.Scalars(name)]
        assert points == [(step, pytest.approx(v)) for step, v in monitor.history[name].items()]


def test_the_console_shows_the_loss_and_no_heads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer(small_gpt(), tmp_path, [AttentionMonitor(every=1)], steps=2, logging_steps=1).train()
    out = capsys.readouterr().out
    assert "'loss'" in out and "attention/" not in out


def test_a_callback_may_stop_the_training_by_what_it_is_told(tmp_path: Path) -> None:
    class Stop(TrainerCallback):
        def on_log(
            self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any
        ) -> None:
            if state.global_step == 4 and "attention/entropy/L0" in logs:
                control.should_training_stop = True

    monitor = AttentionMonitor(every=2)
    run = trainer(small_gpt(), tmp_path, [Stop(), monitor], steps=20)
    run.train()
    assert run.state.global_step == 4


def resumed(folder: Path, steps: int, monitor: AttentionMonitor, **options: Any) -> Trainer:
    options |= {"save_strategy": "steps", "save_steps": 4}
    options |= {"examples": repeats(32)}
    run = trainer(small_gpt(), folder, [monitor], steps=steps, **options)
    last = sorted(folder.glob("checkpoint-*"))
    run.train(resume_from_checkpoint=str(last[-1]) if last else None)
    return run


@pytest.mark.parametrize("whole", [True, False])
def test_a_training_that_goes_on_knows_what_came_before(tmp_path: Path, whole: bool) -> None:
    every = 2 if whole else 3  # a checkpoint at a probed step, and between two
    straight = AttentionMonitor(every=every)
    resumed(tmp_path / "straight", 8, straight)
    first, second = AttentionMonitor(every=every), AttentionMonitor(every=every)
    resumed(tmp_path / "broken", 4, first)
    run = resumed(tmp_path / "broken", 8, second)
    steps = list(second.history.index)
    assert steps == [0, 2, 4, 6, 8] if whole else [0, 3, 4, 6, 8]
    assert steps == [row["step"] for row in run.state.log_history if row.keys() >= NAMES]
    common = [step for step in steps if step in straight.history.index]
    assert len(common) >= 4
    assert second.history.loc[common].equals(straight.history.loc[common, list(second.history)])
    assert second.onset("previous_token", 0.0) == 0
    saved = json.loads((tmp_path / "broken" / "checkpoint-8" / "trainer_state.json").read_text())
    assert any(row.keys() >= NAMES for row in saved["log_history"])


def test_two_trainings_do_not_mix(tmp_path: Path) -> None:
    monitor = AttentionMonitor(every=2)
    for _ in range(2):
        trainer(small_gpt(), tmp_path, [monitor], steps=4).train()
        assert list(monitor.history.index) == [0, 2, 4]
        assert sorted(set(monitor.heads["step"])) == [0, 2, 4]


def test_the_trainers_tokenizer_is_used(tmp_path: Path) -> None:
    tokenizer = vocabulary("bpe")
    model = small_gpt(vocab_size=len(tokenizer))
    given, without = AttentionMonitor(tokenizer=tokenizer), AttentionMonitor()
    trainer(model, tmp_path, [without], steps=1, processing_class=tokenizer).train()
    assert given.probe(model, 1) == without.history.loc[1].to_dict()


def test_without_a_trainer() -> None:
    monitor = AttentionMonitor()
    assert monitor.history.empty and monitor.heads.empty and monitor.warnings == []
    assert monitor.onset() is None
    row = monitor.probe(small_gpt(), 12)
    assert monitor.history.loc[12].to_dict() == row
    columns = ["step", "kind", "layer", "head", "not_finite", "output_share"]
    columns += [
        "normalized_entropy",
        "entropy",
        "sink",
        "previous_token",
        "duplicate_token",
        "induction",
    ]
    assert list(monitor.heads) == columns and len(monitor.heads) == 4
