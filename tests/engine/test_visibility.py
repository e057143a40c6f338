"""`Visibility` equals a table of flags."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnviz.attention.masks.visibility import Visibility
from attnviz.attention.stack import pooling


@st.composite
def tables(draw: Any) -> torch.Tensor:
    """Draw flags [2, query, key]: arbitrary, windows, intervals, or these with hidden keys."""
    queries, keys = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    form = draw(st.sampled_from(["arbitrary", "windows", "intervals", "padded"]))
    if form == "arbitrary":
        bits = draw(
            st.lists(st.booleans(), min_size=2 * queries * keys, max_size=2 * queries * keys)
        )
        return torch.tensor(bits).view(2, queries, keys)
    if form == "windows":
        behind, ahead = draw(st.integers(-2, 9)), draw(st.integers(-2, 9))
        apart = torch.arange(keys) - torch.arange(queries)[:, None]
        return ((apart >= -behind) & (apart <= ahead)).expand(2, -1, -1)
    edge = st.integers(0, keys)
    edges = [(draw(edge), draw(edge)) for _ in range(2 * queries)]
    key = torch.arange(keys)
    table = torch.stack([(key >= low) & (key < high) for low, high in edges])
    table = table.view(2, queries, keys)
    if form == "padded":
        hole = draw(st.lists(st.booleans(), min_size=2 * keys, max_size=2 * keys))
        table = table & torch.tensor(hole).view(2, 1, keys)
    return table


@given(tables())
def test_table_is_recovered(table: torch.Tensor) -> None:
    assert torch.equal(Visibility.from_table(table).table(), table)


@given(tables(), st.data())
def test_tiles_are_slices_of_the_table(table: torch.Tensor, given_data: Any) -> None:
    _, queries, keys = table.shape
    start = given_data.draw(st.integers(0, queries))
    end = given_data.draw(st.integers(start, queries))
    left = given_data.draw(st.integers(0, keys))
    right = given_data.draw(st.integers(left, keys))
    tile = Visibility.from_table(table).table(start, end, left, right)
    assert torch.equal(tile, table[:, start:end, left:right])


@given(tables(), st.data())
def test_hidden_equals_the_inverse_of_the_table(table: Any, given_data: Any) -> None:
    """Compare blocks of one rule, which caches its corners, and any tile."""
    rule = Visibility.from_table(table)
    _, queries, keys = table.shape
    height = given_data.draw(st.integers(1, queries))
    for start in [*range(0, queries, height)] * 2:
        end = min(start + height, queries)
        first, stop = rule.within(start, end)
        assert not table[:, start:end, :first].any()
        assert not table[:, start:end, stop:].any()
        left = given_data.draw(st.integers(0, keys - 1))
        for low, high in ((first, stop), (left, given_data.draw(st.integers(left + 1, keys)))):
            seen = torch.ones_like(table[:, start:end, low:high])
            for begin, close, hidden in rule.hidden(start, end, low, high):
                assert low <= begin < close <= high
                seen[:, :, begin - low : close - low] = ~hidden[:, 0]
            assert torch.equal(seen, table[:, start:end, low:high])


def test_blocks_of_a_causal_map_share_a_mask() -> None:
    rule = Visibility.causal(1, 100, 100, 0)
    corners = {
        id(hidden)
        for start in range(0, 100, 10)
        for _, _, hidden in rule.hidden(start, start + 10, *rule.within(start, start + 10))
    }
    assert len(corners) == 1


@given(tables())
def test_counts_equal_a_loop(table: torch.Tensor) -> None:
    rule = Visibility.from_table(table)
    flags = table.numpy()
    for text, query in np.ndindex(*flags.shape[:2]):
        assert rule.count[text, query] == sum(flags[text, query])
    for text, key in np.ndindex(flags.shape[0], flags.shape[2]):
        assert rule.seen_by()[text, key] == sum(flags[text, :, key])


@given(tables(), st.data())
def test_seen_cells_of_bins_are_those_of_the_table(table: torch.Tensor, given_data: Any) -> None:
    _, queries, keys = table.shape

    def edges(length: int) -> np.ndarray:
        places = st.sets(st.integers(0, length), min_size=2, max_size=6)
        return np.array(sorted(given_data.draw(places)))

    rows, columns = edges(queries), edges(keys)
    without = given_data.draw(st.sets(st.integers(0, keys - 1), max_size=2))
    rule = Visibility.from_table(table).of_text(1, queries, keys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooling, "COUNTED", given_data.draw(st.sampled_from([1, 20, 1 << 21])))
        counts = pooling.seen_per_bin(rule, rows, columns, without)
    flags = table[1].numpy().copy()
    flags[:, sorted(without)] = False
    for row, column in np.ndindex(counts.shape):
        cell = flags[rows[row] : rows[row + 1], columns[column] : columns[column + 1]]
        assert counts[row, column] == cell.sum()


@given(tables())
def test_visible_pairs_equal_the_table_and_end_with_the_text(table: torch.Tensor) -> None:
    rule = Visibility.from_table(table)
    _, queries, keys = table.shape
    for key in range(-2, keys + 2):
        column = rule.visible_pairs(torch.arange(queries), torch.full((queries,), key))
        inside = 0 <= key < keys
        expected = table[:, :, key] if inside else torch.zeros_like(table[:, :, 0])
        assert torch.equal(column, expected)


@given(tables())
def test_full_exactly_when_all_is_visible(table: torch.Tensor) -> None:
    assert Visibility.from_table(table).is_full == bool(table.all())


@given(tables(), st.data())
def test_one_text_of_a_batch(table: torch.Tensor, given_data: Any) -> None:
    _, queries, keys = table.shape
    text = given_data.draw(st.integers(0, 1))
    rows, columns = given_data.draw(st.integers(1, queries)), given_data.draw(st.integers(1, keys))
    one = Visibility.from_table(table).of_text(text, rows, columns)
    part = table[text : text + 1, :rows, :columns]
    assert torch.equal(one.table(), part)
    assert torch.equal(one.count, part.sum(-1).int())
    assert torch.equal(one.seen_by(), part.sum(1).int())
