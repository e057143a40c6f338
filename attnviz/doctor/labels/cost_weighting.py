"""Costs of removing heads, weighted by token and by text: a sentence where the two differ."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from attnviz.doctor.measures.bootstrap import Intervals
from attnviz.types import Head, Kind
from attnviz.word_lists import joined
from attnviz.written_numbers import change_in_nats

__all__ = ["mean_of_texts", "weighting_note"]

MUCH = 0.25  # share of a cost that the two may differ by

NAMED = 3  # heads that the sentence names


def mean_of_texts(
    changes: Float[np.ndarray, "*cell text"], tokens: Float[np.ndarray, " text"]
) -> Float[np.ndarray, "*cell"]:
    """Return the mean over texts of the change per token: every text counts the same, nats.

    Args:
        changes: change of the summed loss of each text, nats; texts where it is not finite are
            left out.
        tokens: number of predicted tokens of each text; texts without any are left out.
    """
    rates = np.where(tokens > 0, changes / np.maximum(tokens, 1), np.nan)
    exists = np.isfinite(rates)
    total = np.where(exists, rates, 0).sum(-1)
    count = exists.sum(-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def weighting_note(
    changes: Mapping[Kind, Float[np.ndarray, "layer head text"]],
    tokens: Float[np.ndarray, " text"],
    costs: Mapping[Kind, Intervals],
    tolerance: float,
) -> str:
    """Return a sentence on heads whose cost depends on how texts are weighted; empty if none.

    A cost is per token over all texts, so that long texts count more; a measure is a mean over
    texts. A head is named if the two differ by more than the tolerance and by more than a
    quarter of the larger one. Those furthest apart come first.

    Args:
        changes: per kind, change of the summed loss of each text without a head, nats.
        tokens: number of predicted tokens of each text.
        costs: per kind, cost per token.
        tolerance: difference that counts as nothing, nats per token.
    """
    apart: list[tuple[float, str]] = []
    for kind, change in changes.items():
        by_text = mean_of_texts(change, tokens)
        for layer, head in np.ndindex(by_text.shape):
            cost, other = float(costs[kind].mean[layer, head]), float(by_text[layer, head])
            distance = abs(other - cost)
            if not distance > max(tolerance, MUCH * abs(cost), MUCH * abs(other)):
                continue
            name = Head(kind, layer, head).label
            apart.append(
                (distance, f"{name} {change_in_nats(other)} instead of {change_in_nats(cost)}")
            )
    if not apart:
        return ""
    apart.sort(key=lambda one: -one[0])
    more = len(apart) - NAMED
    named = [words for _, words in apart[:NAMED]] + ([f"{more} more"] if more > 0 else [])
    return (
        "costs are per token, so long texts count more; if every text counted the same, they would "
        f"be {joined(named)} (nats per token)"
    )
