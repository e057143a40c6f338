"""Biases stored as 2n-1 numbers are exact."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnviz.attention.masks.position_bias import PositionBias

sizes = st.integers(1, 9)


def by_distance(queries: int, keys: int, seed: int = 0) -> torch.Tensor:
    """Return a random bias per head that is a function of the distance."""
    numbers = torch.randn(3, queries + keys - 1, generator=torch.Generator().manual_seed(seed))
    query, key = torch.arange(queries)[:, None], torch.arange(keys)[None, :]
    return numbers[:, key - query + queries - 1]


@given(sizes, sizes)
def test_distance_biases_come_back_from_few_numbers(queries: int, keys: int) -> None:
    table = by_distance(queries, keys)
    bias = PositionBias.of(table)
    assert bias.by_distance
    assert bias.numbers.shape == (3, queries + keys - 1)
    assert torch.equal(bias.block(0, queries, 0, keys), table)


@given(st.integers(2, 9), st.integers(2, 9), st.data())
def test_any_other_bias_is_kept_whole(queries: int, keys: int, given_data: Any) -> None:
    table = by_distance(queries, keys)
    row = given_data.draw(st.integers(0, queries - 1))
    column = given_data.draw(st.integers(0, keys - 1))
    table[1, row, column] += 1.0
    bias = PositionBias.of(table)
    assert torch.equal(bias.block(0, queries, 0, keys), table)


@pytest.mark.parametrize("odd", [0.0, 1.0])
@given(sizes, sizes, st.data())
def test_blocks_and_beginnings_are_slices(
    odd: float, queries: int, keys: int, given_data: Any
) -> None:
    table = by_distance(queries, keys)
    table[0, 0, 0] += odd
    bias = PositionBias.of(table)
    rows, columns = given_data.draw(st.integers(1, queries)), given_data.draw(st.integers(1, keys))
    start, left = given_data.draw(st.integers(0, rows)), given_data.draw(st.integers(0, columns))
    expected = table[:, start:rows, left:columns]
    assert torch.equal(bias.block(start, rows, left, columns), expected)
    assert torch.equal(bias.block(start, rows, left, columns, 2), expected[2])
    first = bias.first(rows, columns)
    assert torch.equal(first.block(0, rows, 0, columns), table[:, :rows, :columns])
    assert torch.equal(first.cpu().block(start, rows, left, columns), expected)
