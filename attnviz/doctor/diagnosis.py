"""The diagnosis of a model: what each head is, with evidence, and what removing it did."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attnviz import __version__
from attnviz.doctor.ablation import ablate as ablate_heads
from attnviz.doctor.ablation import ablate_groups
from attnviz.doctor.examples import Example, LongTexts, examples
from attnviz.doctor.importance import importance
from attnviz.doctor.intervals import Intervals, intervals, ratios
from attnviz.doctor.labels import Experiments, findings
from attnviz.doctor.measures import Measures, describe, measure, names
from attnviz.doctor.pictures import pictures
from attnviz.doctor.sentences import Names
from attnviz.doctor.texts import Text, TextSet, as_text_set
from attnviz.doctor.thresholds import Thresholds
from attnviz.doctor.twins import Patient
from attnviz.errors import CaptureError, InputError
from attnviz.findings import REPLACEMENTS, Finding, Interval, Progress, Replacement
from attnviz.models import Model, check_reads
from attnviz.types import Head, Kind, ModelInfo

__all__ = ["Diagnosis", "TextsRead", "diagnose"]

MOST_PAIRS = 64
PAIR_DISTANCE = 0.15
PAIR_COSINE = 0.6
"""Pairs of heads within these are removed together as well: more than the rule for redundant heads
asks for, so that the rule can be moved."""

STAGES: Mapping[str, float] = {
    "reading the texts": 0.03,
    "measuring every head": 0.17,
    "removing one head after the other": 0.65,
    "removing pairs of heads": 0.05,
    "asking for gradients": 0.10,
}
"""What is done, and about which share of the time it takes."""


@dataclass(frozen=True)
class TextsRead:
    """Which texts a diagnosis was made on; the texts themselves are not kept.

    Attributes:
        name: of the set.
        digest: SHA-256 over the texts.
        count: how many.
        windows: how many the model read, long texts being read in windows.
        tokens: how many tokens the loss was taken over; 0 where there was none.
    """

    name: str
    digest: str
    count: int
    windows: int
    tokens: int


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What the doctor found.

    Attributes:
        model: which model.
        texts: on which texts.
        findings: one per head, in the order of kind, layer and head.
        notes: what a reader has to know: what was left out, and what cannot be said.
        thresholds: where the rules drew their lines.
        measures: all numbers that the labels rest on.
        experiments: what replacing heads has done to the loss.
        importance: |dL/d gate| of every head per kind, nats (Michel et al. 2019); empty where
            nothing was ablated.
        loss: of the model with all its heads, nats per token; NaN where there is none.
        versions: of attnviz and of what it ran on.
        seed: of all that was drawn at random.
        seconds: how long it took.
    """

    model: ModelInfo
    texts: TextsRead
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    thresholds: Thresholds
    measures: Measures
    experiments: Experiments
    importance: Mapping[Kind, Intervals]
    loss: Interval
    versions: Mapping[str, str]
    seed: int
    seconds: float
    names: Mapping[Kind, Names] = field(default_factory=dict)

    def finding(self, head: Head) -> Finding:
        """What was found of one head.

        Raises:
            CaptureError: the model has no such head.
        """
        for one in self.findings:
            if one.head == head:
                return one
        raise CaptureError(f"there is no head {head.label} in this diagnosis of {self.model.name}")

    def relabelled(self, thresholds: Thresholds) -> Diagnosis:
        """The same measurements under other thresholds: at once, nothing is run again."""
        found = findings(self.measures, thresholds, self.experiments, self.names)
        return replace(self, findings=found, thresholds=thresholds)

    @cached_property
    def agreement(self) -> dict[Kind, float]:
        """Spearman's rank correlation between importance and the cost of removing heads, per kind.

        Importance is a gradient and an estimate; NaN where nothing was ablated or all heads tie.
        """
        removed = self.experiments.alone.get("zero", self.experiments.alone.get("mean", {}))
        return {
            kind: _spearman(self.importance[kind].mean, removed[kind].mean)
            for kind in self.model.heads
            if kind in self.importance and kind in removed
        }

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per head: what it is called, and every number with its interval.

        A measure has the columns `x`, `x_low` and `x_high`; the change of the loss when a head is
        replaced `ablation_zero` and so on, in nats per token.
        """
        rows = []
        for one in self.findings:
            head = one.head
            row: dict[str, Any] = {
                "kind": head.kind,
                "layer": head.layer,
                "head": head.head,
                "label": one.label,
                "detail": one.detail,
                "verdict": one.verdict,
                "partner": "" if one.partner is None else one.partner.label,
                "also": ", ".join(one.also),
            }
            for name, value in self._numbers(head).items():
                row |= {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}
            rows.append(row | {"says": " ".join(one.sentences)})
        return pd.DataFrame(rows)

    def _numbers(self, head: Head) -> dict[str, Interval]:
        """Everything that was measured of one head."""
        cell = (head.layer, head.head)
        found: dict[str, Interval] = {
            f"ablation_{name}": value for name, value in self.experiments.of(head).items()
        }
        if head.kind in self.importance:
            found["importance"] = self.importance[head.kind].at(*cell)
        return found | {name: self.measures.tables[head.kind][name].at(*cell) for name in names()}

    def plain(self) -> dict[str, Any]:
        """Everything as plain values: what the report is drawn from, and what JSON holds.

        Numbers that do not exist are None.
        """
        heads = []
        for one in self.findings:
            heads.append(
                {
                    "kind": one.head.kind,
                    "layer": one.head.layer,
                    "head": one.head.head,
                    "name": one.head.label,
                    "label": one.label,
                    "detail": one.detail,
                    "partner": None if one.partner is None else one.partner.label,
                    "also": list(one.also),
                    "verdict": one.verdict,
                    "degenerate": one.degenerate,
                    "sentences": list(one.sentences),
                    "evidence": [asdict(evidence) for evidence in one.evidence],
                    "numbers": {
                        name: asdict(value) for name, value in self._numbers(one.head).items()
                    },
                }
            )
        together = [
            {"heads": [one.label, other.label], **asdict(value)}
            for (one, other), value in self.experiments.together.items()
        ]
        model = asdict(self.model)
        everything: dict[str, Any] = _strict(
            {
                "model": model,
                "texts": asdict(self.texts),
                "versions": dict(self.versions),
                "thresholds": self.thresholds.as_dict(),
                "seed": self.seed,
                "seconds": self.seconds,
                "notes": list(self.notes),
                "loss": asdict(self.loss),
                "agreement": dict(self.agreement),
                "measures": {
                    name: {"label": describe(name).label, "unit": describe(name).unit}
                    for name in names()
                },
                "heads": heads,
                "pairs": together,
            }
        )
        return everything

    def to_json(self, path: str | Path) -> None:
        """Write everything that is needed to read the diagnosis, and to make it again.

        Model and revision, the texts' name and digest (not the texts), versions, thresholds, seed,
        and every number with its interval.
        """
        written = json.dumps(self.plain(), indent=2, allow_nan=False, ensure_ascii=False)
        Path(path).write_text(written + "\n", encoding="utf-8")

    def csv(self) -> str:
        """The table, and in every row what is needed to make it again.

        Model and revision, digest of the texts, version, seed and thresholds (as JSON), so that
        rows of several diagnoses can be put below each other.
        """
        origin: dict[str, Any] = {
            "model": self.model.name,
            "revision": self.model.revision,
            "texts_sha256": self.texts.digest,
            "attnviz": self.versions.get("attnviz", ""),
            "torch": self.versions.get("torch", ""),
            "transformers": self.versions.get("transformers", ""),
            "seed": self.seed,
            "thresholds": json.dumps(self.thresholds.as_dict()),
        }
        written: str = self.table.assign(**origin).to_csv(index=False, float_format="%.6g")
        return written

    def to_csv(self, path: str | Path) -> None:
        """Write the table, with what is needed to make it again in every row."""
        Path(path).write_text(self.csv(), encoding="utf-8")

    def html(self) -> str:
        """The report: one page that needs no network, without the texts."""
        from attnviz.views.report import draw_report  # not needed by those who only measure

        return draw_report({**self.plain(), **pictures(self)})

    def to_html(self, path: str | Path) -> None:
        """Write the report: one HTML file that needs no network, without the texts."""
        Path(path).write_text(self.html(), encoding="utf-8")


def diagnose(
    model: Model,
    texts: str | Path | Sequence[str | Text] | TextSet | None = None,
    *,
    ablate: bool = True,
    replacements: Sequence[Replacement] = ("zero", "mean"),
    thresholds: Thresholds | None = None,
    long: LongTexts = "windows",
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Diagnosis:
    """Say of every head of a model what it is, with evidence, and try it by removing the head.

    Args:
        model: from `attnviz.load`.
        texts: None for the 60 that come with attnviz; a list; or a file, a text on each line, or a
            folder of .txt files.
        ablate: replace every head and measure what that costs; by far the longest part.
        replacements: what takes the place of a head's output: "zero", "mean" (its own average),
            "uniform" (the plain average of what it can see).
        thresholds: where the rules draw their lines; `Diagnosis.relabelled` moves them later.
        long: "windows" reads texts that are too long in pieces, "refuse" raises.
        seed: of masks, random tokens and the bootstrap.
        progress: told the stage, the share that is done and the time, often. It may raise to
            cancel: the model is left as it was.

    Raises:
        EmptyText: there is no text.
        TextTooLong: a text longer than the model reads, and `long` is "refuse".
        InputError: a model that reads no text alone, a text it cannot read, an unknown
            replacement.
    """
    began = time.monotonic()
    check_reads(model, ("input_ids",))
    for replacement in replacements:
        if replacement not in REPLACEMENTS:
            raise InputError(
                f"a head's output is replaced by {', '.join(REPLACEMENTS)}, not {replacement!r}"
            )
    ablate = ablate and bool(replacements)
    limits = thresholds or Thresholds()
    clock = _Clock(progress, began, ablate)
    clock.begin("reading the texts")
    chosen = as_text_set(texts, model.info.family)
    read, notes = examples(model, chosen, long=long, seed=seed)
    patient = Patient.of(model)
    tick = clock.begin("measuring every head")
    measured = measure(model, read, chosen, patient.projections(), seed=seed, progress=tick)
    notes = (*chosen.notes, *notes, *measured.notes)
    asked = any(example.questions for example in read)
    tried, loss = Experiments(), Interval(math.nan, math.nan, math.nan, math.nan, 0)
    leaning: dict[Kind, Intervals] = {}
    if not ablate:
        notes = (*notes, "no head was removed: labels rest on what heads look at alone")
    elif asked:
        tried, leaning, loss = _experiments(model, read, measured, replacements, seed, clock)
    called = _names(model, read)
    found = findings(measured, limits, tried, called)
    clock.end()
    return Diagnosis(
        model=model.info,
        texts=TextsRead(
            chosen.name,
            chosen.digest,
            len(chosen.texts),
            len(read),
            sum(example.tokens for example in read),
        ),
        findings=found,
        notes=notes,
        thresholds=limits,
        measures=measured,
        experiments=tried,
        importance=leaning,
        loss=loss,
        versions=_versions(),
        seed=seed,
        seconds=time.monotonic() - began,
        names=called,
    )


def _experiments(
    model: Model,
    read: Sequence[Example],
    measured: Measures,
    replacements: Sequence[Replacement],
    seed: int,
    clock: _Clock,
) -> tuple[Experiments, dict[Kind, Intervals], Interval]:
    """What replacing heads does, alone and in pairs, and how the loss leans on them."""
    tick = clock.begin("removing one head after the other")
    ablation = ablate_heads(model, read, replacements=replacements, progress=tick)
    tokens = ablation.tokens.astype(np.float64)
    alone = {
        name: {kind: ratios(change, tokens, seed=seed) for kind, change in kinds.items()}
        for name, kinds in ablation.change.items()
    }
    tick = clock.begin("removing pairs of heads")
    pairs = _similar(measured)
    together = {}
    if pairs:
        way: Replacement = "zero" if "zero" in alone else next(iter(alone))
        changes = ablate_groups(model, read, pairs, way, progress=tick)
        together = {
            (pair[0], pair[1]): ratios(change, tokens, seed=seed).at()
            for pair, change in changes.items()
        }
    tick = clock.begin("asking for gradients")
    slopes = importance(model, read, progress=tick)
    leaning = {kind: intervals(slope, seed=seed) for kind, slope in slopes.items()}
    return Experiments(alone, together), leaning, ratios(ablation.baseline, tokens, seed=seed).at()


def _similar(measured: Measures) -> list[tuple[Head, Head]]:
    """Pairs of heads of a layer that might stand in for each other, most similar first."""
    found = []
    for kind, pairs in measured.pairs.items():
        apart, parallel = pairs.head_distance.mean, pairs.output_cosine.mean
        for layer, one, other in np.ndindex(apart.shape):
            near = apart[layer, one, other] < PAIR_DISTANCE
            if one < other and near and parallel[layer, one, other] > PAIR_COSINE:
                pair = (Head(kind, layer, one), Head(kind, layer, other))
                found.append((float(apart[layer, one, other]), pair))
    return [pair for _, pair in sorted(found)[:MOST_PAIRS]]


def _names(model: Model, read: Sequence[Example]) -> dict[Kind, Names]:
    """What the first token and the separators are called on the side that each kind looks at."""
    special = {int(one) for one in model.tokenizer.all_special_ids}
    first_ids = {example.encoded.ids[0] for example in read}
    found = {}
    for kind in model.info.heads:
        names = Names()
        if kind in ("self", "encoder", "cross") and model.info.family != "decoder":
            ending = read[0].encoded.ids[-1]
            ids = list(first_ids) if len(first_ids) == 1 and first_ids <= special else []
            first = model.tokenizer.convert_ids_to_tokens(ids)[0] if ids else names.first
            separator = names.separator
            if ending in special:
                separator = model.tokenizer.convert_ids_to_tokens([ending])[0]
            names = Names(first, separator)
        found[kind] = names
    return found


def _versions() -> dict[str, str]:
    return {
        "attnviz": __version__,
        "torch": importlib.metadata.version("torch"),
        "transformers": importlib.metadata.version("transformers"),
        "python": platform.python_version(),
    }


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Rank correlation; ties share their rank."""
    ranks = pd.DataFrame({"one": one.ravel(), "other": other.ravel()}).dropna().rank()
    if len(ranks) < 2 or (ranks.std() == 0).any():
        return math.nan
    return float(np.corrcoef(ranks["one"], ranks["other"])[0, 1])


def _strict(value: Any) -> Any:
    """The same without numbers that JSON does not know."""
    if isinstance(value, Mapping):
        return {str(key): _strict(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


class _Clock:
    """Turns the share of a stage into the share of the whole."""

    def __init__(
        self, progress: Callable[[Progress], None] | None, began: float, ablate: bool
    ) -> None:
        self.progress = progress
        self.began = began
        stages = list(STAGES.items())[: None if ablate else 2]
        whole = sum(share for _, share in stages)
        self.shares = {stage: share / whole for stage, share in stages}
        self.done = 0.0
        self.stage = ""

    def begin(self, stage: str) -> Callable[[float], None]:
        """A stage begins; returns what to tell its share to."""
        self.done += self.shares.get(self.stage, 0.0)
        self.stage = stage
        self._tell(0.0)
        return self._tell

    def end(self) -> None:
        """All is done."""
        if self.progress is not None:
            self.progress(Progress("done", 1.0, time.monotonic() - self.began))

    def _tell(self, share: float) -> None:
        if self.progress is not None:
            whole = min(self.done + self.shares[self.stage] * share, 1.0)
            self.progress(Progress(self.stage, whole, time.monotonic() - self.began))
