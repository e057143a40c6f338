"""Small pictures of all heads hold the weights that the stack returns."""

from __future__ import annotations

import pytest

import attnviz
from attnviz.attention.stack.small_patterns import FULL_CODE, MASKED_CODE, small_patterns


@pytest.mark.parametrize("words", [6, 120])
def test_each_bin_is_its_largest_visible_weight(words: int) -> None:
    model = attnviz.load("gpt-classroom")
    stack = attnviz.capture(model, "fox " * words)["self"]
    codes = small_patterns(stack)
    layers, heads, tokens, _ = stack.shape
    bins = codes.shape[-1]
    assert codes.shape == (layers, heads, bins, bins)
    assert bins == min(tokens, 48)
    edges = [tokens * at // bins for at in range(bins + 1)]
    for layer, head in [(0, 7), (1, 5), (3, 0)]:
        weights = stack.weights(layer, head)
        for row in range(bins):
            for column in range(bins):
                part = weights[edges[row] : edges[row + 1], edges[column] : edges[column + 1]]
                if edges[column] >= edges[row + 1]:  # all keys come after all queries
                    assert codes[layer, head, row, column] == MASKED_CODE
                    continue
                share = float(codes[layer, head, row, column]) / FULL_CODE
                # a code is rounded on the square root: half a step, doubled by the square
                assert abs(share**2 - part.max()) <= 1 / FULL_CODE + 1e-6
