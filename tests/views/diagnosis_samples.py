"""Findings and plain diagnoses to draw, made by hand: small, random, and of the real shape."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from attnviz.findings import Evidence, Finding, Interval, Label, Verdict
from attnviz.types import Head, Kind

HOSTILE = "</script><img src=x onerror=alert(1)>"

LABELLED: tuple[tuple[Label, str, Verdict], ...] = (
    ("healthy", "", Verdict.NEEDED),
    ("peaked", "own token", Verdict.NEEDED),
    ("uniform", "", Verdict.NO_DIFFERENCE),
    ("sink", "resting", Verdict.NO_DIFFERENCE),
    ("specialised", "induction", Verdict.NEEDED),
    ("redundant", "with L1·H2", Verdict.UNCLEAR),
    ("dead", "", Verdict.NO_DIFFERENCE),
    ("positional", "", Verdict.BETTER_WITHOUT),
    ("non-finite", "", Verdict.NOT_TESTED),
)


def interval(mean: float, texts: int = 60) -> Interval:
    if texts < 2:
        return Interval(mean, math.nan, math.nan, math.nan, texts)
    return Interval(mean, mean - 0.02, mean + 0.02, 0.05, texts)


def make_findings(
    layers: int = 2, heads: int = 4, *, kind: Kind = "self", ablated: bool = True, texts: int = 60
) -> tuple[Finding, ...]:
    """Return every label once and again, in the order of `LABELLED`."""
    samples = []
    for number in range(layers * heads):
        label, detail, verdict = LABELLED[number % len(LABELLED)]
        head = Head(kind, number // heads, number % heads)
        size = 0.5 - number / (layers * heads)
        cost = -abs(size) if verdict is Verdict.BETTER_WITHOUT else size
        samples.append(
            Finding(
                head=head,
                label=label,
                detail=detail,
                partner=Head(kind, 1, 2) if label == "redundant" else None,
                evidence=(
                    Evidence(
                        "normalized_entropy", "Normalized entropy", "", interval(0.4), 0.5, False
                    ),
                ),
                ablation={"zero": interval(cost, texts), "mean": interval(cost / 2, texts)}
                if ablated
                else {},
                verdict=verdict if ablated else Verdict.NOT_TESTED,
                sentences=(f"It is {label}, on all texts.", "A second sentence."),
            )
        )
    return tuple(samples)


def make_samples(layers: int = 2, heads: int = 4, texts: int = 12) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(layers, heads, texts))


def make_plain(*, hostile: bool = False, ablated: bool = True, kinds: int = 1) -> dict[str, Any]:
    """Return what `Diagnosis.plain` and `pictures` give together."""
    names: list[Kind] = ["self"] if kinds == 1 else ["encoder", "decoder", "cross"]
    evil = HOSTILE if hostile else ""
    heads = []
    for kind in names:
        for one in make_findings(kind=kind, ablated=ablated):
            if hostile:
                one = replace(one, detail=evil, sentences=(evil,))
            numbers = {name: asdict(interval(0.3)) for name in ("normalized_entropy", "sink_first")}
            numbers |= {f"ablation_{way}": asdict(value) for way, value in one.ablation.items()}
            heads.append(
                {
                    "kind": one.head.kind,
                    "layer": one.head.layer,
                    "head": one.head.head,
                    "name": one.head.label,
                    "label": one.label,
                    "detail": one.detail,
                    "partner": one.partner.label if one.partner else None,
                    "also": [],
                    "verdict": str(one.verdict),
                    "contradicted": one.contradicted,
                    "degenerate": one.degenerate,
                    "sentences": list(one.sentences),
                    "evidence": [asdict(each) for each in one.evidence],
                    "numbers": numbers,
                }
            )
    return {
        "model": {
            "name": f"a-model{evil}",
            "title": f"does something{evil}",
            "revision": f"0123456789abcdef{evil}",
            "model_type": "gpt2",
            "family": "decoder" if kinds == 1 else "encoder-decoder",
            "heads": {kind: [2, 4] for kind in names},
            "parameters": 1234,
            "device": "cpu",
            "dtype": "float32",
        },
        "texts": {"name": f"mine.txt{evil}", "digest": "ab" * 32, "count": 12, "windows": 12,
                  "tokens": 300},
        "versions": {"attnviz": "0.1.0", "torch": "2.0"},
        "thresholds": {"uniform_entropy": 0.9, "tolerance": 0.01},
        "limits": {
            "uniform_entropy": {"meaning": "Above this.", "source": "chosen here", "unit": "",
                                "default": 0.95},
            "tolerance": {"meaning": "Nothing.", "source": "chosen here", "unit": "nats",
                          "default": 0.01},
        },
        "seed": 3,
        "seconds": 12.0,
        "notes": [f"one text only{evil}"],
        "not_finite": "",
        "loss_not_finite": "",
        "loss": asdict(interval(3.2)) if ablated else dict.fromkeys(asdict(interval(0.0))),
        "agreement": dict.fromkeys(names, 0.5) if ablated else {},
        "entropy": {kind: make_samples().tolist() for kind in names},
        "received": {kind: np.full((2, 4, 6), 0.2).tolist() for kind in names},
        "names": dict.fromkeys(names, f"[CLS]{evil}"),
        "heads": heads,
        "measures": {},
        "pairs": [],
        "groups": [{"summary": f"3 heads that do the same{evil}."}],
    }  # fmt: skip
