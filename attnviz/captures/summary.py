"""Table of all metrics of all heads."""

from __future__ import annotations

import pandas as pd

from attnviz import metrics
from attnviz.captures.forward_pass import Capture

__all__ = ["summarize"]


def summarize(capture: Capture) -> pd.DataFrame:
    """Return a table with one row per (kind, layer, head) and one column per metric.

    NaN where a metric does not exist: the next token in a causal model, induction in a text without
    repetition, distances in cross-attention.

    >>> import attnviz
    >>> model = attnviz.load("gpt-classroom")
    >>> capture = attnviz.capture(model, "The cat sat on the mat.")
    >>> table = attnviz.summarize(capture)
    >>> list(table.columns[:4])
    ['kind', 'layer', 'head', 'entropy']
    >>> layers, heads = capture["self"].shape[:2]
    >>> len(table) == layers * heads
    True
    """
    tables = []
    for kind, stack in capture.stacks.items():
        layers, heads, _, _ = stack.shape
        index = pd.MultiIndex.from_product(
            [[kind], range(layers), range(heads)], names=["kind", "layer", "head"]
        )
        columns = {name: metrics.per_head(name, stack).ravel() for name in metrics.names()}
        tables.append(pd.DataFrame(columns, index=index))
    return pd.concat(tables).reset_index()
