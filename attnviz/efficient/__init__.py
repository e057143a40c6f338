"""Efficient attention: every variant as a short pure function of queries, keys and values.

result = attnviz.efficient.run("window", query, key, value, causal=True, window=64)
result.output, result.weights, result.computed, result.operations
"""

from attnviz.efficient.cache_size import kv_cache_bytes
from attnviz.efficient.methods.result import EfficientResult
from attnviz.efficient.variant_run import run
from attnviz.efficient.variants import Variant, describe, names

__all__ = ["EfficientResult", "Variant", "describe", "kv_cache_bytes", "names", "run"]
