"""Table of every metric of every head at every probed step."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from attnviz.monitor.probe import Scores

__all__ = ["head_table"]


def head_table(heads: Sequence[tuple[int, Scores]]) -> pd.DataFrame:
    """Return a row per probed step, kind, layer and head, and a column per metric."""
    tables = []
    for step, scores in heads:
        for kind in dict.fromkeys(kind for kind, _ in scores):
            of_kind = {name: table for (one, name), table in scores.items() if one == kind}
            shape = next(iter(of_kind.values())).shape
            index = pd.MultiIndex.from_product(
                [[step], [kind], range(shape[0]), range(shape[1])],
                names=["step", "kind", "layer", "head"],
            )
            columns = {name: table.ravel() for name, table in of_kind.items()}
            tables.append(pd.DataFrame(columns, index=index))
    return pd.concat(tables).reset_index() if tables else pd.DataFrame()
