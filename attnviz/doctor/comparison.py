"""Result of comparing the heads of two models: losses, changed labels, divergences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attnviz.doctor.diagnosis import Diagnosis
from attnviz.doctor.labels.label_changes import Change
from attnviz.doctor.labels.thresholds import Thresholds
from attnviz.doctor.loss_outcome import LossOutcome, TwoLosses
from attnviz.doctor.measures.bootstrap import Intervals
from attnviz.doctor.report_data import threshold_meanings, without_nan
from attnviz.findings import Finding, Interval, Verdict
from attnviz.spreadsheets import as_csv
from attnviz.types import Head, Kind
from attnviz.whole_files import write_whole

__all__ = ["Comparison"]


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
    def harmful(self) -> tuple[tuple[Finding, Finding], ...]:
        """Return the heads without which only the second model is better, before and after.

        The intervals of both costs do not overlap. The most harmful head comes first.
        """
        pairs = []
        for before, after in zip(self.first.findings, self.second.findings, strict=True):
            one, other = before.removal, after.removal
            if one is None or other is None or before.verdict is Verdict.BETTER_WITHOUT:
                continue
            if after.verdict is Verdict.BETTER_WITHOUT and other.high < one.low:
                pairs.append((other.mean, before, after))
        pairs.sort(key=lambda pair: pair[0])
        return tuple((before, after) for _, before, after in pairs)

    def moved(self, head: Head) -> float:
        """Return the divergence of one head's rows in the two models, nats; 0 if not measured."""
        return float(np.nan_to_num(self._at(self.divergence, head).mean))

    @property
    def by_weight(self) -> list[Change]:
        """Return the clear changes, the most important first.

        Heads that became degenerate; heads that look so but are needed; heads that recovered; the
        others. Within each of these the head that moved furthest comes first.
        """

        def rank(one: Change) -> tuple[bool, bool, bool, float]:
            new = one.after.contradicted and not one.before.degenerate
            return not one.lost, not new, not one.recovered, -self.moved(one.head)

        return sorted(self.changes, key=rank)

    @cached_property
    def _relabelled(self) -> tuple[Change, ...]:
        worse = self.worse
        pairs = zip(self.first.findings, self.second.findings, strict=True)
        return tuple(
            Change(before.head, before, after, ruined=worse)
            for before, after in pairs
            # The partner's name is in the detail of a redundant head, and may change with it.
            if (before.label, before.detail) != (after.label, after.detail)
            and not _untested_sink(before, after)
        )

    @cached_property
    def _losses(self) -> TwoLosses:
        return TwoLosses(self.first, self.second)

    @property
    def loss_outcome(self) -> LossOutcome:
        """Return which model has the lower loss, or that a loss is NaN or infinite."""
        return self._losses.outcome

    @property
    def worse(self) -> bool:
        """Return True if the loss of the second model is higher, or a loss is NaN or infinite.

        Where only the first model is broken, nothing shows that the second is not worse.
        """
        return self.loss_outcome in (LossOutcome.WORSE, LossOutcome.NOT_FINITE)

    @property
    def loss_difference(self) -> Interval | None:
        """Return the loss of the second model minus that of the first, nats per token.

        The interval is of the differences, text by text. None if the models predicted other
        tokens, or if a loss is missing, NaN or infinite.
        """
        return self._losses.difference

    @property
    def loss_sentence(self) -> str:
        """Return the losses of both models in words; empty if there are none."""
        return self._losses.sentence

    @property
    def broken(self) -> tuple[str, ...]:
        """Return sentences on NaN and infinity in either model; none if both are finite."""
        return tuple(
            f"{one.model.name}: {said}." for one in (self.first, self.second) for said in one.broken
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return the headline: both losses, then the heads with another label."""
        from attnviz.views.report.comparison_sentences import comparison_sentences  # loads plotly

        return comparison_sentences(
            self.loss_sentence,
            broken=self.broken,
            changes=[one.sentence for one in self.by_weight],
            close=len(self.close_changes),
            heads=len(self.first.findings),
            lost=sum(one.lost for one in self.changes),
            recovered=sum(one.recovered for one in self.changes),
            harmful=self.harmful,
            saturated=[
                after
                for before, after in zip(self.first.findings, self.second.findings, strict=True)
                if after.saturated and not before.saturated
            ],
            moved=self._furthest,
        )

    @property
    def _furthest(self) -> tuple[Head, float, float] | None:
        """Return the head that moved furthest, its divergence and entropy shift, in nats.

        None if its rows are as near as those of redundant heads.
        """
        head = max((one.head for one in self.first.findings), key=self.moved)
        if self.moved(head) < self.first.thresholds.redundant_distance:
            return None
        return head, self.moved(head), self._at(self.entropy_shift, head).mean

    def relabelled(self, thresholds: Thresholds) -> Comparison:
        """Return both diagnoses under other thresholds; nothing is run again."""
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
        harmful = {after.head for _, after in self.harmful}
        for before, after in zip(self.first.findings, self.second.findings, strict=True):
            head = before.head
            row: dict[str, Any] = {"kind": head.kind, "layer": head.layer, "head": head.head}
            for name, tables in (
                ("divergence", self.divergence),
                ("entropy_shift", self.entropy_shift),
            ):
                value = self._at(tables, head)
                row |= {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}
            row |= {
                "before": before.name,
                "after": after.name,
                "changed": head in changed,
                "close": head in close,
                "harmful": head in harmful,
            }
            for way in before.ablation:
                row[f"ablation_{way}_before"] = before.ablation[way].mean
                if way in after.ablation:
                    row[f"ablation_{way}_after"] = after.ablation[way].mean
            rows.append(row)
        return pd.DataFrame(rows)

    def plain(self) -> dict[str, Any]:
        """Return all results as plain values, for the report and for JSON.

        Numbers that do not exist are None.
        """
        said = {one.head: one.sentence for one in self._relabelled}
        for _, after in self.harmful:
            harm = "It has become harmful: the loss falls without it."
            said[after.head] = " ".join(filter(None, (said.get(after.head), harm)))
        heads = [
            {
                "kind": one.head.kind,
                "layer": one.head.layer,
                "head": one.head.head,
                "name": one.head.label,
                "divergence": asdict(self._at(self.divergence, one.head)),
                "entropy_shift": asdict(self._at(self.entropy_shift, one.head)),
                "sentence": said.get(one.head, ""),
            }
            for one in self.first.findings
        ]
        values: dict[str, Any] = without_nan(
            {
                "first": self.first.plain(),
                "second": self.second.plain(),
                "sentences": list(self.sentences),
                "loss_outcome": str(self.loss_outcome),
                "loss_difference": None
                if self.loss_difference is None
                else asdict(self.loss_difference),
                "worse": self.worse,
                "broken": list(self.broken),
                "notes": list(self.notes),
                "harmful": [after.head.label for _, after in self.harmful],
                "heads": heads,
            }
        )
        return values

    def to_json(self, path: str | Path) -> None:
        """Write both diagnoses, divergences and changed labels, without the texts."""
        written = json.dumps(self.plain(), indent=2, allow_nan=False, ensure_ascii=False)
        write_whole(path, written + "\n")

    def to_csv(self, path: str | Path) -> None:
        """Write the table: a line per head with both labels and every number."""
        write_whole(path, as_csv(self.table, float_format="%.6g"))

    def html(self) -> str:
        """Return the report: one HTML page that needs no network, without the texts."""
        from attnviz.views.report.comparison_report import draw_comparison_report  # loads plotly

        return draw_comparison_report({**self.plain(), "limits": threshold_meanings()})

    def to_html(self, path: str | Path) -> None:
        """Write the report: one HTML file that needs no network, without the texts."""
        write_whole(path, self.html())

    @staticmethod
    def _at(tables: Mapping[Kind, Intervals], head: Head) -> Interval:
        return tables[head.kind].at(head.layer, head.head)


def _untested_sink(before: Finding, after: Finding) -> bool:
    """Return True if both are sinks and no removal showed of which variant one of them is."""
    details = {before.detail, after.detail}
    return before.label == after.label == "sink" and "not tested" in details
