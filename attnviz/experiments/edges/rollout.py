"""Rollout and attention flow: weights of all layers put together, from a layer down to the input.

Both take the mean over heads and give the residual connection half of the weight: A = (W + I) / 2.
Rollout multiplies the matrices of the layers. Flow is the largest flow through the graph whose
capacities they are. Source: Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers".
Neither reads values, MLPs or what a head is for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from attnviz.attention import AttentionStack
from attnviz.errors import InputError

__all__ = ["MOST_FLOW_TOKENS", "attention_flow", "mixing", "rollout"]

MOST_FLOW_TOKENS = 48
"""Longest text of a flow: a largest flow is computed for each key."""


def mixing(stack: AttentionStack, layer: int) -> Float[np.ndarray, "position position"]:
    """Return (W + I) / 2 of a layer, with W the mean over heads; rows sum to 1.

    Raises:
        InputError: queries and keys are not the same text.
    """
    if not stack.same_text:
        raise InputError("rollout and flow are of self-attention; cross-attention reads two texts")
    _, heads, queries, _ = stack.shape
    mean = sum(stack.weights(layer, head).astype(np.float64) for head in range(heads)) / heads
    table: np.ndarray = mean + np.eye(queries)
    return table / table.sum(-1, keepdims=True)  # type: ignore[no-any-return]


def rollout(stack: AttentionStack, layer: int) -> Float[np.ndarray, "query key"]:
    """Return the rollout from the output of a layer to the input; rows sum to 1."""
    product = mixing(stack, 0)
    for upper in range(1, layer + 1):
        product = mixing(stack, upper) @ product
    return product


def attention_flow(
    stack: AttentionStack,
    layer: int,
    query: int,
    *,
    progress: Callable[[float], None] | None = None,
) -> Float[np.ndarray, " key"]:
    """Return the largest flow from a query at the output of a layer to each input position.

    `progress` is a callback for the finished share. It may raise to cancel.

    Raises:
        InputError: as `mixing`, or a text that is too long.
    """
    queries = stack.shape[2]
    if queries > MOST_FLOW_TOKENS:
        raise InputError(
            f"attention flow is computed for texts of at most {MOST_FLOW_TOKENS} tokens, and this "
            f"one has {queries}"
        )
    # Here, not above: it takes a fifth of a second, and the app's first page does not need it.
    import networkx  # type: ignore[import-untyped]

    graph = networkx.DiGraph()
    for level in range(layer + 1):
        table = mixing(stack, level)
        for row, column in zip(*np.nonzero(table), strict=True):
            capacity = float(table[row, column])
            graph.add_edge((level + 1, int(row)), (level, int(column)), capacity=capacity)
    start = (layer + 1, query)
    flows = np.zeros(queries)
    for key in range(queries):
        if (0, key) in graph and start in graph:
            flows[key] = networkx.maximum_flow_value(graph, start, (0, key))
        if progress is not None:
            progress((key + 1) / queries)
    return flows
