"""Metrics of attention sinks: keys that receive weight from most queries."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from attnviz.attention import AttentionStack
from attnviz.metrics.registry import metric
from attnviz.types import SINK_SHARE, Head, Metric

__all__ = ["received", "sink", "sink_first", "sink_key", "sink_keys", "sink_mask"]


def received(stack: AttentionStack) -> Float[np.ndarray, "layer head key"]:
    """Return alpha_k, the mean weight of key k over the queries that see it, 0 to 1.

    alpha_k = sum_q A_qk / (number of queries that see k); for a causal text of n tokens the
    denominator is n - k. NaN for a key that no query sees. Source: Gu et al. 2024, "When attention
    sink emerges".
    """
    seen = stack.seen_by[:, None, :].astype(np.float32)
    means: np.ndarray = np.divide(stack.statistic("key_mass"), np.where(seen > 0, seen, np.nan))
    return means


def _candidates(stack: AttentionStack) -> Float[np.ndarray, "layer head key"]:
    """Return `received` for keys that can be a sink; -1 elsewhere.

    Such a key is seen by at least half as many queries as any key: the last key of a causal text
    is seen by one query only, so its mean is not evidence. In a narrow window all keys are seen by
    few queries, and all are candidates. A mean that is above `SINK_SHARE` only because of the
    query at the key's own position is no evidence either: such a key looks at itself.
    """
    seen = stack.seen_by[:, None, :]
    enough = seen * 2 >= seen.max(axis=-1, keepdims=True)
    means = np.nan_to_num(received(stack), nan=-1.0)
    if stack.shape[2] == stack.shape[3]:
        diagonal = np.nan_to_num(stack.statistic("itself"), nan=0.0)  # NaN in cross-attention
        others = (stack.statistic("key_mass") - diagonal) / np.maximum(seen - 1, 1)
        enough = enough & ((means <= SINK_SHARE) | (others > SINK_SHARE))
    return np.where(enough, means, -1.0).astype(np.float32)


def _share_of_sink(stack: AttentionStack) -> Float[np.ndarray, "layer head"]:
    """Return the largest alpha_k of each head; NaN where no key can be a sink."""
    largest = _candidates(stack).max(-1)
    shares: np.ndarray = np.where(largest < 0, np.nan, largest)
    return shares


def sink_mask(stack: AttentionStack) -> Bool[np.ndarray, "layer head key"]:
    """Return the mask of the keys of each head whose alpha_k is above `SINK_SHARE`.

    Only keys that enough queries see count, and none if there is one query.
    """
    if stack.shape[2] < 2:
        layers, heads, _, keys = stack.shape
        return np.zeros((layers, heads, keys), bool)
    mask: np.ndarray = _candidates(stack) > SINK_SHARE
    return mask


def sink_keys(stack: AttentionStack, head: Head) -> Int[np.ndarray, " key"]:
    """Return the keys of one head that `sink_mask` marks."""
    return np.flatnonzero(sink_mask(stack)[head.layer, head.head])


def sink_key(stack: AttentionStack) -> Int[np.ndarray, "layer head"]:
    """Return the key with the largest alpha_k of each head, among keys that enough queries see.

    Enough: at least half as many queries as see the most visible key.
    """
    keys: np.ndarray = _candidates(stack).argmax(-1)
    return keys


@metric(
    Metric(
        "sink",
        "Sink",
        "",
        "The mean weight on the key that receives most, over the queries that see it. Above 0.3 "
        "the key counts as a sink.",
        (0.0, 1.0),
        "gives {value} of its weight to one key",
    ),
    per_head=_share_of_sink,
)
def sink(stack: AttentionStack) -> Float[np.ndarray, "layer head query"]:
    """Return the largest alpha_k of a head; per row the weight on that key, 0 to 1.

    NaN where the key is invisible to the row, where no key can be a sink (a text of two tokens that
    look at themselves) and, in captures that keep statistics only, where it is not the first key.

    Source: Gu et al. 2024 (threshold 0.3). A sink is not a fault: a head may rest there when it has
    nothing to add, and the weight does not measure how much value the head moves.
    """
    rows = np.full(stack.shape[:3], np.nan, np.float32)
    candidates = _candidates(stack)
    keys, exists = candidates.argmax(-1), candidates.max(-1) >= 0
    if not stack.keeps_weights:
        # statistics contain the weight on the first key, and on no other fixed key
        return np.where(((keys == 0) & exists)[..., None], stack.statistic("first"), rows)
    for layer, head in np.argwhere(exists):
        key = int(keys[layer, head])
        column = slice(key, key + 1)
        weights = stack.weights(layer, head, keys=column)[:, 0]
        visible = stack.layers[layer].visibility.table(key_start=key, key_end=key + 1)[0, :, 0]
        rows[layer, head] = np.where(visible.numpy(), weights, np.nan)
    return rows


@metric(
    Metric(
        "sink_first",
        "Weight on the first key",
        "",
        "The mean weight on the very first token ([CLS] in BERT, the begin token in GPT).",
        (0.0, 1.0),
        "gives {value} of its weight to the first token",
    )
)
def sink_first(stack: AttentionStack) -> Float[np.ndarray, "layer head query"]:
    """Return A_i0, 0 to 1; the mean over rows is alpha_0 of Gu et al. 2024."""
    return stack.statistic("first")
