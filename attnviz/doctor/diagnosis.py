"""Diagnosis of a model: findings, measures and experiments, and their files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attnviz.doctor.labels.broken_numbers import loss_note
from attnviz.doctor.labels.evidence_sentences import Names
from attnviz.doctor.labels.head_groups import plain_group
from attnviz.doctor.labels.removal_effects import removal_sentence
from attnviz.doctor.labels.rules import Experiments, findings
from attnviz.doctor.labels.thresholds import Thresholds
from attnviz.doctor.measures.all_measures import Measures
from attnviz.doctor.measures.bootstrap import Intervals
from attnviz.doctor.measures.descriptions import describe, names
from attnviz.doctor.measures.text_losses import TextLosses
from attnviz.doctor.report_data import pictures, without_nan
from attnviz.errors import CaptureError
from attnviz.findings import Finding, Interval
from attnviz.removals import prunable_heads
from attnviz.spreadsheets import as_csv
from attnviz.types import Head, Kind, ModelInfo
from attnviz.whole_files import write_whole

__all__ = ["Diagnosis", "TextsRead"]


@dataclass(frozen=True)
class TextsRead:
    """Name and digest of the texts of a diagnosis; the texts themselves are not kept.

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
    """Findings on all heads of a model.

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
        loss: of the model with all its heads, nats per token, over the texts where it is finite;
            NaN where there is none.
        versions: of attnviz and of what it ran on.
        seed: of all that was drawn at random.
        seconds: how long it took.
        not_finite: where NaN or infinity begin in the model, as a sentence; empty if its weights
            and what its heads computed are finite.
        losses: of the model with all its heads on each text, nats.
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
    not_finite: str = ""
    losses: TextLosses = field(default_factory=TextLosses)

    @property
    def broken(self) -> tuple[str, ...]:
        """Return sentences on NaN and infinity: in weights, heads and losses; none if finite."""
        return tuple(filter(None, (self.not_finite, loss_note(self.losses))))

    def finding(self, head: Head) -> Finding:
        """Return the finding of one head.

        Raises:
            CaptureError: the model has no such head.
        """
        for one in self.findings:
            if one.head == head:
                return one
        raise CaptureError(f"there is no head {head.label} in this diagnosis of {self.model.name}")

    def relabelled(self, thresholds: Thresholds) -> Diagnosis:
        """Return the same measurements under other thresholds; nothing is run again."""
        labelled = findings(self.measures, thresholds, self.experiments, self.names)
        return replace(self, findings=labelled, thresholds=thresholds)

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the groups of heads that do the same, and what removing them costs, in words."""
        limit = self.thresholds.tolerance
        return tuple(one.summary(limit) for one in self.experiments.groups)

    @property
    def pruning(self) -> str:
        """Return what removing all heads of the list for pruning at once costs, in words.

        Empty if the list has fewer than two heads.
        """
        cost, heads = self.experiments.pruning, self.experiments.pruned
        if set(prunable_heads(self.findings)) != set(heads):
            return "The limits were moved: the cost of removing all heads of this list is unknown."
        if cost is None:
            return ""
        number = "both" if len(heads) == 2 else f"all {len(heads)}"
        what = f"removing {number} heads of the list for pruning"
        return removal_sentence(cost, self.thresholds.tolerance, what)

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
        """Return one row per head: label, verdict, and every number with its interval.

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
                "verdict": str(one.verdict),
                "contradicted": one.contradicted,
                "partner": "" if one.partner is None else one.partner.label,
                "also": ", ".join(one.also),
                "partial": ", ".join(one.partial),
                "close": ", ".join(one.close),
                "spare": one.spare,
            }
            for name, value in self._numbers(head).items():
                row |= {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}
            rows.append(row | {"says": " ".join(one.sentences)})
        return pd.DataFrame(rows)

    def _numbers(self, head: Head) -> dict[str, Interval]:
        """Return all numbers of one head."""
        cell = (head.layer, head.head)
        numbers: dict[str, Interval] = {
            f"ablation_{name}": value for name, value in self.experiments.of(head).items()
        }
        if head.kind in self.importance:
            numbers["importance"] = self.importance[head.kind].at(*cell)
        return numbers | {name: self.measures.tables[head.kind][name].at(*cell) for name in names()}

    def plain(self) -> dict[str, Any]:
        """Return all results as plain values, for the report and for JSON.

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
                    "partial": list(one.partial),
                    "close": list(one.close),
                    "group": [head.label for head in one.group],
                    "together": None if one.together is None else asdict(one.together),
                    "spare": one.spare,
                    "verdict": str(one.verdict),
                    "contradicted": one.contradicted,
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
        everything: dict[str, Any] = without_nan(
            {
                "model": model,
                "texts": asdict(self.texts),
                "versions": dict(self.versions),
                "thresholds": self.thresholds.as_dict(),
                "seed": self.seed,
                "seconds": self.seconds,
                "notes": list(self.notes),
                "not_finite": self.not_finite,
                "loss": asdict(self.loss),
                "loss_not_finite": loss_note(self.losses),
                "agreement": dict(self.agreement),
                "measures": {
                    name: {"label": describe(name).label, "unit": describe(name).unit}
                    for name in names()
                },
                "heads": heads,
                "pairs": together,
                "pruning": {
                    "heads": [one.label for one in self.experiments.pruned],
                    "cost": None
                    if self.experiments.pruning is None
                    else asdict(self.experiments.pruning),
                    "summary": self.pruning,
                },
                "groups": [
                    plain_group(one, self.thresholds.tolerance) for one in self.experiments.groups
                ],
            }
        )
        return everything

    def to_json(self, path: str | Path) -> None:
        """Write everything that is needed to read the diagnosis, and to make it again.

        Model and revision, the texts' name and digest (not the texts), versions, thresholds, seed,
        and every number with its interval.
        """
        written = json.dumps(self.plain(), indent=2, allow_nan=False, ensure_ascii=False)
        write_whole(path, written + "\n")

    def csv(self) -> str:
        """Return the table as CSV, with the origin of the numbers in every row.

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
        return as_csv(self.table.assign(**origin), float_format="%.6g")

    def to_csv(self, path: str | Path) -> None:
        """Write the table, with what is needed to make it again in every row."""
        write_whole(path, self.csv())

    def html(self) -> str:
        """Return the report: one HTML page that needs no network, without the texts."""
        from attnviz.views.report.diagnosis_report import (
            draw_report,
        )  # not needed by those who only measure

        return draw_report({**self.plain(), **pictures(self)})

    def to_html(self, path: str | Path) -> None:
        """Write the report: one HTML file that needs no network, without the texts."""
        write_whole(path, self.html())


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Return the rank correlation; ties share their rank."""
    ranks = pd.DataFrame({"one": one.ravel(), "other": other.ravel()}).dropna().rank()
    if len(ranks) < 2 or (ranks.std() == 0).any():
        return math.nan
    return float(np.corrcoef(ranks["one"], ranks["other"])[0, 1])
