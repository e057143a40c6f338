"""Diagnoses of the real kind, from made-up measurements: for pages, without the long wait."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from attnviz.doctor import Diagnosis, Measures, TextSet, TextsRead, Thresholds
from attnviz.doctor.labels.rules import Experiments, findings
from attnviz.doctor.measures.all_measures import Pairs
from attnviz.doctor.measures.bootstrap import Intervals, intervals
from attnviz.doctor.measures.descriptions import names
from attnviz.findings import Interval, Progress, Replacement
from attnviz.models import Model

UNIFORM, PEAKED = (0, 1), (0, 2)
"""Heads that are given away: the second is needed all the same."""


def make_diagnosis(
    model: Model,
    texts: TextSet,
    replacements: Sequence[Replacement] = ("zero", "mean"),
    close: Sequence[tuple[int, int]] = (),
) -> Diagnosis:
    """Healthy heads but for `UNIFORM`, which nothing needs, and `PEAKED`, which is needed.

    The heads of `close` give 0.498 of their weight to the token before, with 0.1 of spread over the
    texts: within the interval they are previous-token heads.
    """
    random = np.random.default_rng(0)
    number = len(texts.texts)
    tables: dict[Any, Any] = {}
    values: dict[Any, Any] = {}
    pairs: dict[Any, Any] = {}
    alone: dict[Any, Any] = {way: {} for way in replacements}
    for kind, size in model.info.heads.items():
        drawn = {name: random.uniform(0.2, 0.25, (*size, number)) for name in names()}
        drawn["content_dependence"] += 0.5
        drawn["not_finite"][:] = 0.0
        for name, high, low in (
            ("normalized_entropy", 0.99, 0.01),
            ("lowest_entropy", 0.98, 0.005),
            ("content_dependence", 0.01, 0.1),
        ):
            drawn[name][UNIFORM] = high
            drawn[name][PEAKED] = low
        for cell in close:
            noise = random.normal(0, 0.1, number)
            drawn["previous_token"][cell] = 0.498 + noise - noise.mean()
        tables[kind] = {name: intervals(one) for name, one in drawn.items()}
        values[kind] = drawn
        between = np.full((*size, size[1], number), 0.4)
        pairs[kind] = Pairs(intervals(between), intervals(between))
        cost = random.normal(0.0, 0.001, (*size, number))
        cost[PEAKED] += 0.7
        for way in alone:
            alone[way][kind] = intervals(cost)
    measures = Measures(tables, pairs, values, {
        kind: random.uniform(0, 0.3, (*size, 12)) for kind, size in model.info.heads.items()
    }, per_text=frozenset(names()))  # fmt: skip
    experiments = Experiments(alone)
    leaning: dict[Any, Intervals] = dict(alone[replacements[0]]) if replacements else {}
    nothing = Interval(math.nan, math.nan, math.nan, math.nan, 0)
    return Diagnosis(
        model=model.info,
        texts=TextsRead(texts.name, texts.digest, number, number, 10 * number),
        findings=findings(measures, Thresholds(), experiments),
        notes=texts.notes,
        thresholds=Thresholds(),
        measures=measures,
        experiments=experiments,
        importance=leaning,
        loss=Interval(3.0, 2.9, 3.1, 0.5, number) if replacements else nothing,
        versions={"attnviz": "0.1.0"},
        seed=0,
        seconds=1.0,
    )


def quick(
    model: Model,
    texts: TextSet,
    *,
    ablate: bool = True,
    replacements: Sequence[Replacement] = (),
    seed: int = 0,
    progress: Callable[[Progress], None],
) -> Diagnosis:
    """Return a diagnosis of made-up numbers, in place of `attnviz.diagnose`."""
    progress(Progress("measuring every head", 0.5, 1.0))
    return make_diagnosis(model, texts, replacements)
