"""Every metric of every head in one table."""

from __future__ import annotations

import pandas as pd

from attnviz import metrics
from attnviz.captures import Capture

__all__ = ["summarize"]


def summarize(capture: Capture) -> pd.DataFrame:
    """One row per (kind, layer, head), one column per metric.

    NaN where a metric does not exist: no next token in a causal model, no induction in a text
    without repetition, no distances in cross attention.
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
