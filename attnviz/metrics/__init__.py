"""Metrics of attention rows and heads: one file per idea, one registry.

attnviz.metrics.names()                      # ("entropy", "normalized_entropy", ...)
attnviz.metrics.describe("entropy").unit     # "nats"
attnviz.metrics.per_row("entropy", stack)    # [layer, head, query]
attnviz.metrics.per_head("entropy", stack)   # [layer, head]
"""

# Importing a file registers its metrics; the order here is the order of the menus.
from attnviz.metrics import spread  # noqa: F401  # isort: split
from attnviz.metrics import sinks  # noqa: F401  # isort: split
from attnviz.metrics import offsets  # noqa: F401  # isort: split
from attnviz.metrics import copies  # noqa: F401  # isort: split
from attnviz.metrics.divergence import jensen_shannon
from attnviz.metrics.registry import describe, names, per_head, per_row
from attnviz.metrics.sinks import received, sink_key

__all__ = [
    "describe",
    "jensen_shannon",
    "names",
    "per_head",
    "per_row",
    "received",
    "sink_key",
]
