"""Plain values, as JSON has them, back as findings and arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from attnviz.findings import REPLACEMENTS, Evidence, Finding, Interval, Verdict
from attnviz.types import Head

__all__ = ["array", "findings_of", "interval_of"]


def findings_of(plain: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Return the findings of a diagnosis that was made plain; partners by name only."""
    heads = {
        one["name"]: Head(one["kind"], int(one["layer"]), int(one["head"]))
        for one in plain["heads"]
    }
    return tuple(_finding(one, heads) for one in plain["heads"])


def _finding(one: Mapping[str, Any], heads: Mapping[str, Head]) -> Finding:
    return Finding(
        head=heads[one["name"]],
        label=one["label"],
        detail=one["detail"],
        partner=heads.get(one["partner"]),
        also=tuple(one["also"]),
        evidence=tuple(
            Evidence(**{**evidence, "value": interval_of(evidence["value"])})
            for evidence in one["evidence"]
        ),
        ablation={
            way: interval_of(one["numbers"][f"ablation_{way}"])
            for way in REPLACEMENTS
            if f"ablation_{way}" in one["numbers"]
        },
        verdict=Verdict(one["verdict"]),
        partial=tuple(one.get("partial", ())),
        close=tuple(one.get("close", ())),
        group=tuple(heads[name] for name in one.get("group", ())),
        together=interval_of(one["together"]) if one.get("together") else None,
        spare=one.get("spare", False),
        sentences=tuple(one["sentences"]),
    )


def interval_of(plain: Mapping[str, Any]) -> Interval:
    """Return an interval; what is None becomes NaN."""
    ends = {name: _number(plain[name]) for name in ("mean", "low", "high", "spread")}
    return Interval(**ends, texts=int(plain["texts"]))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def array(plain: Any) -> np.ndarray:
    """Return nested lists as an array; None becomes NaN, and nothing an empty array."""
    return np.asarray([] if plain is None else plain, dtype=np.float64)
