"""How widely a row spreads its weight."""

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
    """H_i = -sum_j A_ij ln A_ij, in nats.

    Source: Shannon; per head as an indicator of collapse, Zhai et al. 2023. A small value early
    in a causal text means little: the first rows have few keys to choose from.
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
    """H_i / ln(visible keys of row i), 0 to 1.

    Rows with one visible key have no choice to make and are NaN, not 0 or 1. Dividing a causal
    row by ln n instead would make every early query look peaked.
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
    """max_j A_ij, 0 to 1.

    Source: "confidence", Voita et al. 2019, who leave out the end-of-sequence key; nothing is left
    out here. The first causal row always has 1.
    """
    return stack.statistic("max_weight")
