"""Small picture of every head: its weights in a few bins, as one byte each."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from attnviz.attention import AttentionStack
from attnviz.attention.stack.pooling import even_edges, seen_per_bin

__all__ = ["MASKED_CODE", "PICTURED_TOKENS", "small_patterns"]

PICTURED_TOKENS = 1024
"""Longest text in tokens of which pictures are made: each reads all weights of its head."""

MOST_BINS, MOST_BYTES = 48, 250_000

FULL_CODE, MASKED_CODE = 254, 255


def small_patterns(stack: AttentionStack) -> UInt8[np.ndarray, "layer head row column"]:
    """Return the weights of every head in at most 48 x 48 bins, the largest weight of each bin.

    A code c stands for the weight (c / 254)²; 255 is a bin in which nothing is visible. A text of
    fewer tokens than bins has one bin per token. Many heads have fewer bins: all pictures together
    have at most 250,000 bytes (but at least 8 x 8 bins a head).

    Raises:
        CaptureError: as `AttentionStack.weights`.
    """
    layers, heads, queries, keys = stack.shape
    most = min(MOST_BINS, max(8, int((MOST_BYTES / (layers * heads)) ** 0.5)))
    edges = even_edges(queries, min(most, queries)), even_edges(keys, min(most, keys))
    rows, columns = (len(one) - 1 for one in edges)
    codes = np.empty((layers, heads, rows, columns), np.uint8)
    for layer in range(layers):
        unseen = seen_per_bin(stack.layers[layer].visibility, *edges) == 0
        for head in range(heads):
            largest = np.nan_to_num(stack.binned(layer, head, *edges, "max"), nan=0.0)
            codes[layer, head] = np.rint(np.sqrt(largest.clip(0, 1)) * FULL_CODE)
            codes[layer, head][unseen] = MASKED_CODE
    return codes
