"""Reference metrics: loops over whole maps, from the definitions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Map = np.ndarray  # one head's weights, [query, key]


def _entropy(weights: Map, row: int) -> float:
    return -sum(float(w) * math.log(w) for w in weights[row] if w > 0)


def entropy(weights: Map, visible: Map, ids: np.ndarray, row: int) -> float:
    return _entropy(weights, row)


def normalized_entropy(weights: Map, visible: Map, ids: np.ndarray, row: int) -> float:
    seen = int(visible[row].sum())
    return math.nan if seen < 2 else _entropy(weights, row) / math.log(seen)


def max_weight(weights: Map, visible: Map, ids: np.ndarray, row: int) -> float:
    return max(weights[row])


def _at(weights: Map, visible: Map, row: int, key: int) -> float:
    exists = 0 <= key < weights.shape[1]
    return weights[row, key] if exists and visible[row, key] else math.nan


def sink_first(weights: Map, visible: Map, ids: np.ndarray, row: int) -> float:
    return _at(weights, visible, row, 0)


def previous_token(weights: Map, visible: Map, ids: np.ndarray, row: int) -> float:
    return _at(weights, visible, row, row - 1)


def next_token(weights: Map, visible: Map, ids: np.ndarray, row: int) -> float:
    return _at(weights, visible, row, row + 1)


def itself(weights: Map, visible: Map, ids: np.ndarray, row: int) -> float:
    return _at(weights, visible, row, row)


def _copies(ids: np.ndarray, row: int) -> list[int]:
    return [j for j in range(row) if ids[j] == ids[row]]


def duplicate_token(weights: Map, visible: Map, ids: np.ndarray, row: int) -> float:
    copies = _copies(ids, row)
    return sum(weights[row, j] for j in copies) if copies else math.nan


def induction(weights: Map, visible: Map, ids: np.ndarray, row: int) -> float:
    copies = _copies(ids, row)
    return sum(weights[row, j + 1] for j in copies) if copies else math.nan


def mean_distance(weights: Map, visible: Map, ids: np.ndarray, row: int) -> float:
    return sum(float(w) * abs(row - j) for j, w in enumerate(weights[row]))


def alpha(weights: Map, visible: Map) -> list[float]:
    """Return the mean weight of each key over the queries that see it."""
    return [
        sum(weights[:, k]) / visible[:, k].sum() if visible[:, k].any() else math.nan
        for k in range(weights.shape[1])
    ]


def sink_key(weights: Map, visible: Map) -> int:
    """Return the key of the largest alpha, among keys that can be a sink.

    These are seen at least half as often as any key, and are not above 0.3 only because they look
    at themselves (queries and keys of one text).
    """
    seen = visible.sum(0)
    received = alpha(weights, visible)
    keys = []
    for k in range(len(seen)):
        if 2 * seen[k] < max(seen):
            continue
        if len(weights) == len(seen) and received[k] > 0.3:
            rows = [i for i in range(len(weights)) if visible[i, k] and i != k]
            if sum(weights[i, k] for i in rows) / max(len(rows), 1) <= 0.3:
                continue
        keys.append(k)
    return max(keys, key=lambda k: received[k])


def sink(weights: Map, visible: Map, ids: np.ndarray, row: int) -> float:
    return _at(weights, visible, row, sink_key(weights, visible))


PER_ROW: dict[str, Callable[[Map, Map, np.ndarray, int], float]] = {
    "entropy": entropy,
    "normalized_entropy": normalized_entropy,
    "max_weight": max_weight,
    "sink": sink,
    "sink_first": sink_first,
    "previous_token": previous_token,
    "next_token": next_token,
    "self": itself,
    "mean_distance": mean_distance,
    "duplicate_token": duplicate_token,
    "induction": induction,
}
ONE_TEXT_ONLY = PER_ROW.keys() - {
    *("entropy", "normalized_entropy", "max_weight", "sink", "sink_first")
}
"""What needs queries and keys to be the same tokens, and is NaN in cross attention."""


def per_head(name: str, weights: Map, visible: Map, ids: np.ndarray) -> float:
    """Return the mean over the rows that have a value; for sinks the largest alpha."""
    if name == "sink":
        return alpha(weights, visible)[sink_key(weights, visible)]
    rows = [PER_ROW[name](weights, visible, ids, row) for row in range(len(weights))]
    values = [value for value in rows if not math.isnan(value)]
    return sum(values) / len(values) if values else math.nan
