"""Tokens and weights to draw, made by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import plotly.graph_objects as go

from attnviz.types import Metric, Tokens

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "<b>x</b>",
    '<a href="javascript:alert(1)">y</a>',
    "%{evil}",
    "$\\alpha$",
    "a&lt;b",
    "שלום",
    "👩‍👩‍👧",
)
WORDS = ("[CLS]", "·The", "·quick", "·antidisestablishmentarianism", "·fox", "·over", *HOSTILE)

INDUCTION = Metric("induction", "induction", "", "looks at what came next", (0.0, 1.0), "{value}")
DISTANCE = Metric("mean_distance", "mean distance", "tokens", "how far", (0.0, None), "{value}")


def make_tokens(count: int, words: tuple[str, ...] = WORDS) -> Tokens:
    return Tokens(
        ids=np.arange(count),
        labels=tuple(words[at % len(words)] for at in range(count)),
        special=np.zeros(count, dtype=bool),
    )


def make_attention(
    queries: int, keys: int | None = None, *, causal: bool = True, sink: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and scores of a head; `sink` is the share that the first key takes."""
    keys = queries if keys is None else keys
    scores = np.random.default_rng(seed).normal(size=(queries, keys)) * 2
    if causal:
        scores[np.triu_indices(queries, 1, keys)] = -np.inf
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    if sink:
        weights *= 1 - sink
        weights[:, 0] += sink
    return weights.astype(np.float32), scores.astype(np.float32)


def trace(figure: go.Figure, name: str) -> Any:
    traces = [one for one in figure.data if one.name == name]
    assert len(traces) == 1, [one.name for one in figure.data]
    return traces[0]


def names(figure: go.Figure) -> list[str]:
    return [one.name for one in figure.data]


def bytes_of(figure: go.Figure) -> int:
    return len(json.dumps(json.loads(figure.to_json())))
