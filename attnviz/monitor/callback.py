"""Callback for the library's Trainer: attention on a fixed probe, every few steps."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from attnviz import metrics as registry
from attnviz.attention.interface import NAME
from attnviz.captures.origins import broken_weights
from attnviz.errors import InputError
from attnviz.models import Model, instrument, unwrapped
from attnviz.monitor.borrowed_model import borrowed, check_whole
from attnviz.monitor.curves import (
    ONSET,
    PATTERNS,
    PREFIX,
    Alarm,
    Row,
    alarms,
    collapsed_layers,
    curves,
    onset,
)
from attnviz.monitor.head_faults import HeadAlarm, fault_marks, head_alarms
from attnviz.monitor.interval import MeasuringInterval
from attnviz.monitor.probe import Probe, Scores, Texts, make_probe, measure
from attnviz.monitor.probed_heads import head_table
from attnviz.monitor.reporters import CONSOLE, CurveName, calling_handler, logged_curves
from attnviz.types import Head
from attnviz.written_numbers import decimals

__all__ = ["AttentionMonitor"]

COLLAPSE = "normalized_entropy"  # what a collapse is seen in: always measured
ON_REPEATS = (COLLAPSE, "entropy", "sink", "previous_token", "duplicate_token", "induction")
ON_TEXTS = (COLLAPSE, "entropy", "sink", "previous_token", "next_token")
CURVES_PER_HEAD = 64
"""Models of up to this many heads get a curve per head and metric, unless it is requested."""


log = logging.getLogger("attnviz.monitor")


class AttentionMonitor(TrainerCallback):  # type: ignore[misc]
    """Watches the attention of a model while it trains.

        trainer = Trainer(model, args, ..., callbacks=[AttentionMonitor(tokenizer=tokenizer)])

    At the start, every few steps and at the last step the model reads a small fixed probe, in
    evaluation mode and without gradients, and is given back as it was. What its heads do goes to
    everything the Trainer reports to, into `state.log_history` and into `history`. A layer whose
    entropy collapses, and a head that becomes uniform, peaked or dead, is a warning of the logger
    `attnviz.monitor` and stays in `warnings`.

    The numbers are those of `attnviz.metrics` on the probe: they say where heads look, on these
    few sequences, not what that does for the loss.

    Args:
        texts: what to read: strings; pairs of strings (two sentences for an encoder, source and
            target for an encoder-decoder); or a batch as a collator makes it, which is the way for
            pictures and sounds. Built-in English texts when None. A decoder reads random tokens
            that repeat as well: its induction, previous-token and duplicate-token curves are taken
            there, everything else on the texts.
        tokenizer: for the texts; the Trainer's `processing_class` when None.
        every: steps between two probes. When None, as often as costs at most 1% of the time: 10
            steps, or 20, 40, 80 and so on.
        metrics: names out of `attnviz.metrics.names()`; entropy (in nats, and as a share of what
            the visible keys allow), sink and the usual patterns when None.
        per_head: a curve for every head, too. When None, for models of up to 64 heads.

    Raises:
        InputError: an argument cannot be used.
        CaptureError: there is no metric of that name.

    A training never ends because of it. What goes wrong once a training has begun (a model whose
    attention attnviz cannot see, weights that are split over processes, texts that the model cannot
    read, no memory) is one warning of the logger; then nothing more is measured, and the training
    goes on as without the monitor.
    """

    def __init__(
        self,
        texts: Texts | None = None,
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        every: int | None = None,
        metrics: Sequence[str] | None = None,
        per_head: bool | None = None,
    ) -> None:
        if isinstance(texts, (str, PreTrainedTokenizerBase)) or (texts is not None and not texts):
            raise InputError(
                "texts should be strings in a list, pairs of strings, or a batch of tensors, and "
                f"is {'empty' if not texts else 'a ' + type(texts).__name__}; a tokenizer is given "
                "as tokenizer="
            )
        for name in metrics or ():
            registry.describe(name)
        self._texts = texts
        self._tokenizer = tokenizer
        self._metrics = None if metrics is None else tuple(dict.fromkeys((COLLAPSE, *metrics)))
        self._per_head = per_head
        self._interval = MeasuringInterval(every)
        self._prepared: tuple[Model, Probe] | None = None
        self._rows: list[Row] = []
        self._last: Row | None = None  # with the marks of faults that may last
        self._heads: list[tuple[int, Scores]] = []
        self._broken = False
        self._aside = False

    @property
    def history(self) -> pd.DataFrame:
        """Return every curve: a row per probed step, a column per name, as they were reported.

        After a training that goes on from a checkpoint, what came before is in it too.
        """
        index = pd.Index([step for step, _ in self._rows], name="step")
        return pd.DataFrame([row for _, row in self._rows], index=index)

    @property
    def heads(self) -> pd.DataFrame:
        """Return every metric of every head: a row per probed step, kind, layer and head.

        Of this training alone, not of one that it goes on from.
        """
        return head_table(self._heads)

    @property
    def warnings(self) -> list[Alarm | HeadAlarm]:
        """Return every collapse of a layer and every fault of a head, in the order of their steps.

        `str()` of one is a sentence.
        """
        both: list[Alarm | HeadAlarm] = [*alarms(self._rows), *head_alarms(self._rows)]
        return sorted(both, key=lambda one: one.step)

    def onset(self, metric: str = "induction", threshold: float = ONSET) -> int | None:
        """Return the first probed step at which a head gave a pattern this share of its weight.

        None if there is none. A model that had it from the start has the first step.
        """
        return onset(self._rows, metric, threshold)

    def probe(self, model: Any, step: int) -> dict[str, float]:
        """Read the probe now and keep what is found: for training loops without a Trainer.

        Args:
            model: the model, wrapped or not; it is given back as it was.
            step: where the training is.

        Returns:
            The value of every curve, by the name under which it is reported.

        Raises:
            ModelNotSupported: attnviz cannot see this model's attention, or its weights are split
                over processes.
            InputError: the model cannot read the texts.
        """
        network = unwrapped(model)
        scores = self._measure(model, network)
        heads = sum(table.size for (_, name), table in scores.items() if name == COLLAPSE)
        every_head = heads <= CURVES_PER_HEAD if self._per_head is None else self._per_head
        row = curves(scores, every_head)
        earlier = list(self._rows)
        marks = fault_marks([one for _, one in self._heads], scores, self._last)
        row |= marks
        row[f"{PREFIX}broken_heads"] = float(len({name.split("/")[-1] for name in marks}))
        row[f"{PREFIX}collapsed_layers"] = float(collapsed_layers([*earlier, (step, row)]))
        self._last = (step, row)
        self._rows.append(self._last)
        self._heads.append((step, scores))
        for alarm in self.warnings:
            if alarm.step == step:
                log.warning(str(alarm))
        self._warn_of_weights(network, step)
        for name in PATTERNS:
            if earlier and onset(self._rows, name) == step and onset(earlier, name) is None:
                log.info("step %d: %s", step, _begins(scores, name))
        return row

    def _warn_of_weights(self, network: PreTrainedModel, step: int) -> None:
        """Log which weights hold NaN or infinity, when there are some for the first time."""
        names = broken_weights(network)
        if names and not self._broken:
            named = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            log.warning("step %d: NaN or infinity in the weights: %s", step, named)
        self._broken = bool(names)

    def _measure(self, model: Any, network: PreTrainedModel) -> Scores:
        """Return what the heads of a model do on the probe.

        The probe is made when it is first needed.
        """
        with borrowed(network):
            instrumented, probe = self._prepare(model, network)
            network.set_attn_implementation(NAME)
            names = self._metrics or (ON_REPEATS if probe.repeats else ON_TEXTS)
            if network.device.type == "cuda":  # work that was queued before is not the probe's cost
                torch.cuda.synchronize(network.device)
            began = time.perf_counter()
            scores = measure(instrumented, probe, names)
            self._interval.cost = time.perf_counter() - began
        return scores

    def _prepare(self, model: Any, network: PreTrainedModel) -> tuple[Model, Probe]:
        """Return the instrumented network and its probe, both made at the first measurement."""
        if self._prepared is None or self._prepared[0].original is not network:
            check_whole(model)
            instrumented = instrument(network, self._tokenizer)
            self._prepared = instrumented, make_probe(instrumented, self._texts)
        return self._prepared

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Read the probe once before the first step."""
        self._aside = False
        with self._stepping_aside(state.global_step):
            if self._tokenizer is None:
                given = kwargs.get("processing_class")
                given = getattr(given, "tokenizer", given)  # a processor of several senses has one
                self._tokenizer = given if isinstance(given, PreTrainedTokenizerBase) else None
            self._prepared, self._heads = None, []
            earlier = logged_curves(state.log_history)
            self._last = earlier[-1] if earlier else None
            self._rows = [row for row in earlier if row[0] < state.global_step]
            # In every process, though only one reports: a model that cannot be watched is set
            # aside everywhere.
            row = self.probe(kwargs["model"], state.global_step)
            if state.is_world_process_zero and len(self._rows) > len(earlier):
                return self._report(args, state, control, row, kwargs)
        return control

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the time of a step."""
        if not self._aside:
            self._interval.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Read the probe when it is due, and hand the curves to every reporter."""
        if self._aside:
            return control
        with self._stepping_aside(state.global_step):
            self._interval.end()
            step = state.global_step
            due = self._interval.due(step) or control.should_training_stop
            if state.is_world_process_zero and due:
                return self._report(args, state, control, self.probe(kwargs["model"], step), kwargs)
        return control

    @contextmanager
    def _stepping_aside(self, step: int) -> Iterator[None]:
        """Turn whatever goes wrong inside into one warning, after which nothing is measured."""
        try:
            yield
        except Exception as error:  # out of memory, for one: the training is worth more
            self._aside = True
            self._prepared = None
            log.warning(
                "step %d: attention could not be measured, and is not measured again in this "
                "training: %s",
                step,
                str(error).strip() or type(error).__name__,
            )

    def _report(
        self, args: Any, state: Any, control: Any, row: dict[str, float], kwargs: dict[str, Any]
    ) -> Any:
        """Do what `Trainer.log` does with its numbers, but for printing them."""
        state.log_history.append({**row, "epoch": state.epoch, "step": state.global_step})
        handler = calling_handler(sys._getframe())
        logs_now = control.should_log
        try:
            for callback in [] if handler is None else handler.callbacks:
                if callback is not self and not isinstance(callback, CONSOLE):
                    logs = {CurveName(name): value for name, value in row.items()}
                    control = callback.on_log(args, state, control, logs=logs, **kwargs) or control
        finally:
            control.should_log = logs_now  # the numbers of the Trainer may be due at this very step
        return control


def _begins(scores: Scores, metric: str) -> str:
    """Return which head does most of a pattern that was not there before."""
    tables = {kind: np.nan_to_num(one) for (kind, name), one in scores.items() if name == metric}
    kind = max(tables, key=lambda one: float(tables[one].max()))
    layer, head = divmod(int(tables[kind].argmax()), tables[kind].shape[1])
    label = Head(kind, layer, head).label
    return f"{metric} begins: {label} gives it {decimals(tables[kind][layer, head])} of its weight"
