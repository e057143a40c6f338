"""Efficient attention: every variant as a short pure function of queries, keys and values.

result = attnviz.efficient.run("window", query, key, value, causal=True, window=64)
result.output, result.weights, result.computed, result.operations
"""

from attnviz.efficient.cache_size import kv_cache_bytes
from attnviz.efficient.costs import Cost, cost
from attnviz.efficient.layer_stack import (
    Layer,
    attention_layer,
    latent_layer,
    layer_bytes,
    receptive_fields,
    state_layer,
)
from attnviz.efficient.methods.result import EfficientResult
from attnviz.efficient.variant_errors import Difference, difference
from attnviz.efficient.variant_run import run
from attnviz.efficient.variants import Variant, describe, names

__all__ = [
    "Cost",
    "Difference",
    "EfficientResult",
    "Layer",
    "Variant",
    "attention_layer",
    "cost",
    "describe",
    "difference",
    "kv_cache_bytes",
    "latent_layer",
    "layer_bytes",
    "names",
    "receptive_fields",
    "run",
    "state_layer",
]
