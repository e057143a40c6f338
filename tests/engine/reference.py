"""Reference attention: loops in float64 from the definition, independent of the package."""

from __future__ import annotations

import numpy as np


def reference_attention(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    visible: np.ndarray,
    *,
    scaling: float,
    softcap: float | None = None,
    bias: np.ndarray | None = None,
    sinks: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return output [batch, query, head, dim], weights and scores [batch, head, query, key]."""
    batch, heads, queries, _ = query.shape
    groups, keys = key.shape[1], key.shape[2]
    output = np.zeros((batch, queries, heads, value.shape[-1]))
    weights = np.zeros((batch, heads, queries, keys))
    scores = np.full((batch, heads, queries, keys), -np.inf)
    for text, head, row in np.ndindex(batch, heads, queries):
        group = head // (heads // groups)
        seen = np.flatnonzero(visible[text, row])
        if not len(seen):
            continue
        for column in seen:
            score = scaling * float(
                query[text, head, row].astype(np.float64)
                @ key[text, group, column].astype(np.float64)
            )
            if softcap is not None:
                score = softcap * np.tanh(score / softcap)
            if bias is not None:
                score += float(bias[text % len(bias), head % bias.shape[1], row, column])
            scores[text, head, row, column] = score
        row_scores = scores[text, head, row, seen]
        rivals = row_scores if sinks is None else np.append(row_scores, float(sinks[head]))
        highest = rivals.max()
        shares = np.exp(row_scores - highest) / np.exp(rivals - highest).sum()
        weights[text, head, row, seen] = shares
        output[text, row, head] = shares @ value[text, group, seen].astype(np.float64)
    return output, weights, scores


def entropy(weights: np.ndarray) -> np.ndarray:
    """Return -sum p ln p over the last axis."""
    return -np.where(weights > 0, weights * np.log(np.where(weights > 0, weights, 1)), 0).sum(-1)
