"""Metrics of spread: entropy, normalized entropy, largest weight."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from attnviz.attention import AttentionStack
from attnviz.metrics.registry import metric
from attnviz.types import Metric

__all__ = ["entropy", "max_weight", "normalized_entropy"]


@metric(
    Metric(
        "entropy",
        "Entropy",
        "nats",
        "How widely a row spreads its weight: 0 when one key takes all, ln(n) when n keys share "
        "evenly.",
        (0.0, None),
        "spreads its weight with an entropy of {value} nats",
    )
)
def entropy(stack: AttentionStack) -> Float[np.ndarray, "layer head query"]:
    """Compute H_i = -sum_j A_ij ln A_ij, in nats.

    Source: Shannon; per head as an indicator of collapse, Zhai et al. 2023. A small value early
    in a causal text is no evidence of collapse: the first rows have few visible keys.
    """
    return stack.statistic("entropy")


@metric(
    Metric(
        "normalized_entropy",
        "Normalized entropy",
        "",
        "Entropy divided by the largest it could be, ln of the number of visible keys: "
        "1 is uniform, 0 is a single key.",
        (0.0, 1.0),
        "reaches {value} of the largest possible entropy",
    )
)
def normalized_entropy(stack: AttentionStack) -> Float[np.ndarray, "layer head query"]:
    """Compute H_i / ln(number of visible keys of row i), 0 to 1.

    NaN for rows with one visible key. A division by ln n instead would give early causal rows small
    values, as if they were peaked.
    """
    visible = stack.visible[:, None, :].astype(np.float64)
    largest = np.log(np.where(visible > 1, visible, np.nan))
    return (stack.statistic("entropy") / largest).astype(np.float32)


@metric(
    Metric(
        "max_weight",
        "Largest weight",
        "",
        "The largest weight of a row: how sure the head is of one key.",
        (0.0, 1.0),
        "gives {value} of its weight to its favourite key",
    )
)
def max_weight(stack: AttentionStack) -> Float[np.ndarray, "layer head query"]:
    """Return max_j A_ij, 0 to 1.

    Source: "confidence", Voita et al. 2019, who leave out the end-of-sequence key; no key is left
    out here. The first causal row always has 1.
    """
    return stack.statistic("max_weight")
