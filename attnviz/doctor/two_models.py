"""Two models on the same texts: what fine-tuning has done to each head."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from attnviz import metrics
from attnviz.captures.forward_pass import Capture, capture_ids
from attnviz.doctor.diagnosis import Diagnosis
from attnviz.doctor.examination import Reading, examine
from attnviz.doctor.labels.label_changes import Change
from attnviz.doctor.labels.number_words import nats
from attnviz.doctor.labels.thresholds import Thresholds
from attnviz.doctor.measures.bootstrap import Intervals, intervals
from attnviz.errors import InputError
from attnviz.experiments.loss_examples import LongTexts, batches
from attnviz.experiments.text_sets import Text, TextSet, as_text_set
from attnviz.findings import Progress
from attnviz.metrics.registry import mean_over_rows
from attnviz.models import Model
from attnviz.types import Kind

__all__ = ["Comparison", "compare"]

BATCH_TOKENS = 1024  # both models' queries, keys and values of a batch exist at a time
DIAGNOSES = 0.45
"""Share of the time that each of the two diagnoses takes; the rest goes to comparing weights."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Comparison of the same heads in two models.

    Attributes:
        first: the diagnosis of the first model, say the base.
        second: of the second, say the fine-tuned one.
        divergence: per kind, Jensen-Shannon divergence of a head's rows in the two models,
            averaged over the rows of a text; nats, 0 (equal) to ln 2, [layer, head] over texts.
        entropy_shift: per kind, entropy in the second model minus that in the first, averaged over
            the rows of a text, nats; the interval is of the differences, text by text.
        notes: what a reader has to know.
    """

    first: Diagnosis
    second: Diagnosis
    divergence: Mapping[Kind, Intervals]
    entropy_shift: Mapping[Kind, Intervals]
    notes: tuple[str, ...] = ()

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """Return the heads with another label, where the intervals have left the limits.

        In the order of kind, layer and head.
        """
        return tuple(one for one in self._relabelled if one.clear)

    @cached_property
    def close_changes(self) -> tuple[Change, ...]:
        """Return the heads with another label that may be due to the choice of texts."""
        return tuple(one for one in self._relabelled if not one.clear)

    @cached_property
    def _relabelled(self) -> tuple[Change, ...]:
        worse = self.loss_change > 0
        pairs = zip(self.first.findings, self.second.findings, strict=True)
        return tuple(
            Change(before.head, before, after, ruined=worse)
            for before, after in pairs
            # The partner's name is in the detail of a redundant head, and may change with it.
            if (before.label, before.detail) != (after.label, after.detail)
        )

    @property
    def loss_change(self) -> int:
        """Return 1 if the loss of the second model is higher, -1 if lower, 0 if intervals meet."""
        one, other = self.first.loss, self.second.loss
        return int(other.low > one.high) - int(other.high < one.low)

    @property
    def loss_sentence(self) -> str:
        """Return the losses of both models in words; empty if there are none."""
        one, other = self.first.loss, self.second.loss
        if math.isnan(one.mean) or math.isnan(other.mean):
            return ""
        verdict = {
            1: "the second model is worse",
            -1: "the second model is better",
            0: "the intervals overlap",
        }[self.loss_change]
        return f"Loss: {nats(one)} in the first model, {nats(other)} in the second: {verdict}."

    def relabelled(self, thresholds: Thresholds) -> Comparison:
        """Both diagnoses under other thresholds: at once, nothing is run again."""
        return replace(
            self,
            first=self.first.relabelled(thresholds),
            second=self.second.relabelled(thresholds),
        )

    @cached_property
    def table(self) -> pd.DataFrame:
        """Return one row per head: divergence, entropy shift, labels before and after."""
        rows = []
        changed = {one.head for one in self.changes}
        close = {one.head for one in self.close_changes}
        for before, after in zip(self.first.findings, self.second.findings, strict=True):
            head = before.head
            row: dict[str, Any] = {"kind": head.kind, "layer": head.layer, "head": head.head}
            for name, tables in (
                ("divergence", self.divergence),
                ("entropy_shift", self.entropy_shift),
            ):
                value = tables[head.kind].at(head.layer, head.head)
                row |= {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}
            row |= {
                "before": before.name,
                "after": after.name,
                "changed": head in changed,
                "close": head in close,
            }
            for way in before.ablation:
                row[f"ablation_{way}_before"] = before.ablation[way].mean
                if way in after.ablation:
                    row[f"ablation_{way}_after"] = after.ablation[way].mean
            rows.append(row)
        return pd.DataFrame(rows)


def compare(
    first: Model,
    second: Model,
    texts: str | Path | Sequence[str | Text] | TextSet | None = None,
    *,
    ablate: bool = True,
    thresholds: Thresholds | None = None,
    long: LongTexts = "windows",
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Comparison:
    """Diagnose two models of one shape on the same texts, and say how their heads differ.

    Made for a base model and what was fine-tuned from it. Head 5 of layer 3 is compared with head
    5 of layer 3; two models that were trained apart have their heads in another order, and their
    divergences say nothing. Where an encoder-decoder has no target, each diagnosis takes the loss
    of what the same model writes, and weights are compared on what the first one has written.

    Arguments and errors as for `diagnose`.

    Raises:
        InputError: the models differ in layers, heads or kind, or split a text into other tokens.
    """
    if dict(first.info.heads) != dict(second.info.heads) or (
        first.info.family != second.info.family
    ):
        raise InputError(
            f"heads are compared one by one, and these models differ in shape: {first.info.name} "
            f"has {_shape(first)}, {second.info.name} has {_shape(second)}"
        )
    chosen = as_text_set(texts, first.info.family)
    readings = [Reading.of(model, chosen, long=long, seed=seed) for model in (first, second)]
    _check_same_ids(first, second, readings)
    read = readings[0].examples
    shares = _Shares(progress)
    diagnoses = []
    for number, (model, reading) in enumerate(zip((first, second), readings, strict=True)):
        diagnoses.append(
            examine(
                model,
                reading,
                ablate=ablate,
                thresholds=thresholds,
                seed=seed,
                progress=shares.part(number * DIAGNOSES, DIAGNOSES, f"{model.info.name}: "),
            )
        )
    tick = shares.part(2 * DIAGNOSES, 1 - 2 * DIAGNOSES, "")
    began = shares.seconds
    divergence: dict[Kind, np.ndarray] = {}
    shift: dict[Kind, np.ndarray] = {}
    for kind, size in first.info.heads.items():
        divergence[kind] = np.full((*size, len(read)), np.nan)
        shift[kind] = np.full((*size, len(read)), np.nan)
    done = 0
    for group in batches([one.encoded for one in read], BATCH_TOKENS):
        encoded = [read[index].encoded for index in group]
        captured = [
            capture_ids(model, encoded, keep="qkv", predict=False) for model in (first, second)
        ]
        for index, one, other in zip(group, *captured, strict=True):
            for kind in one:
                divergence[kind][..., index] = _divergence(one, other, kind)
                entropies = [metrics.per_head("entropy", each[kind]) for each in (one, other)]
                shift[kind][..., index] = entropies[1] - entropies[0]
        done += len(group)
        if tick is not None:
            tick(Progress("comparing the weights", done / len(read), began))
    return Comparison(
        diagnoses[0],
        diagnoses[1],
        {kind: intervals(values, seed=seed) for kind, values in divergence.items()},
        {kind: intervals(values, seed=seed) for kind, values in shift.items()},
        readings[0].notes,
    )


def _shape(model: Model) -> str:
    sizes = [
        f"{layers} layers of {heads} heads" + ("" if kind == "self" else f" ({kind})")
        for kind, (layers, heads) in model.info.heads.items()
    ]
    return ", ".join(sizes)


def _check_same_ids(first: Model, second: Model, readings: Sequence[Reading]) -> None:
    """Refuse two models that read a text as different tokens: their maps have no cell in common."""
    ids, theirs = ([one.encoded.ids for one in reading.examples] for reading in readings)
    if ids != theirs:
        raise InputError(
            f"{first.info.name} and {second.info.name} split these texts into different tokens, so "
            "their maps cannot be laid on each other; compare a model with one fine-tuned from it, "
            "with the same tokenizer"
        )


def _divergence(one: Capture, other: Capture, kind: Kind) -> Float[np.ndarray, "layer head"]:
    """Between the same heads' rows in two captures of one text, mean over rows; nats."""
    layers, heads, _, _ = one[kind].shape
    found = np.zeros((layers, heads))
    for layer, head in np.ndindex(found.shape):
        rows = metrics.jensen_shannon(
            one[kind].weights(layer, head), other[kind].weights(layer, head)
        )
        found[layer, head] = mean_over_rows(rows)
    return found


class _Shares:
    """Progress of parts as progress of the whole."""

    def __init__(self, progress: Callable[[Progress], None] | None) -> None:
        self.progress = progress
        self.seconds = 0.0

    def part(self, start: float, share: float, prefix: str) -> Callable[[Progress], None] | None:
        """Return the progress callback of a part."""
        report = self.progress
        if report is None:
            return None
        before = self.seconds

        def report_part(one: Progress) -> None:
            self.seconds = before + one.seconds
            report(Progress(prefix + one.stage, start + share * one.share, self.seconds))

        return report_part
