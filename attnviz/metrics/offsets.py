"""Metrics of position: weight on the previous, next and same token, and mean distance."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from attnviz.attention import AttentionStack
from attnviz.metrics.registry import metric
from attnviz.types import Metric

__all__ = ["itself", "mean_distance", "next_token", "previous_token"]


@metric(
    Metric(
        "previous_token",
        "Previous token",
        "",
        "The weight on the token right before. Above 0.5 a head counts as a previous-token head.",
        (0.0, 1.0),
        "gives {value} of its weight to the previous token",
    )
)
def previous_token(stack: AttentionStack) -> Float[np.ndarray, "layer head query"]:
    """Return A[i, i-1], 0 to 1; NaN for the first row. Source: Clark et al. 2019 (above 0.5)."""
    return stack.statistic("previous")


@metric(
    Metric(
        "next_token",
        "Next token",
        "",
        "The weight on the token right after; exists only where a head may look ahead.",
        (0.0, 1.0),
        "gives {value} of its weight to the next token",
    )
)
def next_token(stack: AttentionStack) -> Float[np.ndarray, "layer head query"]:
    """Return A[i, i+1], 0 to 1; NaN if the next token is invisible. Source: Clark et al. 2019."""
    return stack.statistic("next")


@metric(
    Metric(
        "self",
        "Own token",
        "",
        "The weight of a token on itself.",
        (0.0, 1.0),
        "gives {value} of its weight to the token itself",
    )
)
def itself(stack: AttentionStack) -> Float[np.ndarray, "layer head query"]:
    """Return A[i, i], 0 to 1; NaN in cross-attention, where queries and keys are other tokens."""
    return stack.statistic("itself")


@metric(
    Metric(
        "mean_distance",
        "Mean distance",
        "tokens",
        "How many tokens away a head looks, on average.",
        (0.0, None),
        "looks {value} tokens away on average",
    )
)
def mean_distance(stack: AttentionStack) -> Float[np.ndarray, "layer head query"]:
    """Sum A_ij |i - j| over j, in tokens; NaN in cross-attention, where positions are of two texts.

    Grows with the length of the text and with a sink at its beginning: compare it on equal texts.
    """
    return stack.statistic("distance")
