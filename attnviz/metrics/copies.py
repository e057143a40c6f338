"""Metrics of repeated tokens: weight on earlier copies, and on the tokens after them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from attnviz.attention import AttentionStack
from attnviz.metrics.registry import metric
from attnviz.types import Metric

__all__ = ["duplicate_token", "induction"]


@metric(
    Metric(
        "duplicate_token",
        "Duplicate token",
        "",
        "The weight on earlier copies of the same token, where there are any.",
        (0.0, 1.0),
        "gives {value} of its weight to earlier copies of the same token",
    )
)
def duplicate_token(stack: AttentionStack) -> Float[np.ndarray, "layer head query"]:
    """Sum A[i, j] over j < i with token j = token i, 0 to 1; NaN without such a j.

    Tokens are equal if their vocabulary ids are: "The" and " the" are different tokens.
    """
    return stack.statistic("duplicate")


@metric(
    Metric(
        "induction",
        "Induction",
        "",
        "The weight on the tokens that followed earlier copies of the current token. "
        "High: the head can continue a repeated phrase.",
        (0.0, 1.0),
        "gives {value} of its weight to what followed earlier copies of the token",
    )
)
def induction(stack: AttentionStack) -> Float[np.ndarray, "layer head query"]:
    """Sum A[i, j+1] over j < i with token j = token i, 0 to 1; NaN without such a j.

    Source: prefix matching, Olsson et al. 2022. For random tokens repeated with period n this is
    the stripe at key offset -(n-1); the stripe at -n is `duplicate_token`.
    """
    return stack.statistic("induction")
