"""Bootstrap intervals: against a loop that draws texts one by one, and on numbers whose truth is
known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attnviz.doctor.measures.bootstrap import Intervals, intervals, ratios


def slow(changes: list[float], tokens: list[float], resamples: int) -> tuple[float, ...]:
    """Mean, low, high, spread, one draw at a time."""
    pairs = [
        (change, size)
        for change, size in zip(changes, tokens, strict=True)
        if not math.isnan(change) and size > 0
    ]
    if not pairs:
        return math.nan, math.nan, math.nan, math.nan, 0
    mean = sum(change for change, _ in pairs) / sum(size for _, size in pairs)
    if len(pairs) < 2:
        return mean, math.nan, math.nan, math.nan, 1
    random = np.random.default_rng(99)
    means = []
    for _ in range(resamples):
        drawn = [pairs[index] for index in random.integers(0, len(pairs), len(pairs))]
        means.append(sum(change for change, _ in drawn) / sum(size for _, size in drawn))
    ratios = [change / size for change, size in pairs]
    middle = sum(ratios) / len(ratios)
    spread = math.sqrt(sum((one - middle) ** 2 for one in ratios) / (len(ratios) - 1))
    low, high = np.quantile(means, [0.025, 0.975])
    return mean, low, high, spread, len(pairs)


def numbers_at(table: Intervals, *cell: int) -> tuple[float, ...]:
    one = table.at(*cell)
    return one.mean, one.low, one.high, one.spread, one.texts


@pytest.fixture
def numbers() -> np.ndarray:
    """[2, 3, 20], with holes of different shapes, one cell with one text and one with none."""
    values = np.random.default_rng(1).normal(3.0, 2.0, (2, 3, 20))
    values[0, 1, ::3] = np.nan
    values[0, 2, 1:] = np.nan
    values[1, 0, :] = np.nan
    values[1, 1, :5] = np.nan
    return values


def test_means_and_intervals_are_those_of_a_loop(numbers: np.ndarray) -> None:
    interval = intervals(numbers)
    for cell in np.ndindex(2, 3):
        expected = slow(list(numbers[cell]), [1.0] * 20, 4000)
        got = numbers_at(interval, *cell)
        assert got[0] == pytest.approx(expected[0], nan_ok=True)
        assert got[3] == pytest.approx(expected[3], nan_ok=True)
        assert got[4] == expected[4]
        # Two bootstraps with other draws differ by the noise of their ends.
        assert got[1:3] == pytest.approx(expected[1:3], abs=0.12, nan_ok=True)


def test_ratios_weigh_texts_by_their_tokens(numbers: np.ndarray) -> None:
    tokens = np.random.default_rng(2).integers(1, 30, 20).astype(float)
    tokens[4] = 0
    changes = numbers * tokens
    interval = ratios(changes, tokens)
    for cell in np.ndindex(2, 3):
        expected = slow(list(changes[cell]), list(tokens), 4000)
        got = numbers_at(interval, *cell)
        assert got[0] == pytest.approx(expected[0], nan_ok=True)
        assert got[3:] == pytest.approx(expected[3:], nan_ok=True)
        assert got[1:3] == pytest.approx(expected[1:3], abs=0.12, nan_ok=True)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    interval = intervals(random.exponential(1.0, (600, 60)), resamples=400)
    covered = ((interval.low <= 1.0) & (interval.high >= 1.0)).mean()
    assert 0.90 < covered < 0.97  # percentile intervals of a skewed number are a little narrow


def test_equal_numbers_have_an_interval_of_no_width() -> None:
    interval = intervals(np.full((1, 12), 0.25))
    assert numbers_at(interval, 0) == pytest.approx((0.25, 0.25, 0.25, 0.0, 12))


def test_the_seed_decides_the_draws_and_nothing_else_does(numbers: np.ndarray) -> None:
    first, again, other = intervals(numbers), intervals(numbers), intervals(numbers, seed=1)
    assert np.array_equal(first.low, again.low, equal_nan=True)
    assert not np.array_equal(first.low, other.low, equal_nan=True)
    alone = intervals(numbers[1:, 2:])
    assert numbers_at(alone, 0, 0) == pytest.approx(numbers_at(first, 1, 2))


def test_more_cells_than_are_done_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).normal(size=(11, 9))
    whole = intervals(values)
    monkeypatch.setattr("attnviz.doctor.measures.bootstrap.CELLS", 3)
    monkeypatch.setattr("attnviz.doctor.measures.bootstrap.DRAWN", 9 * 7)
    parts = intervals(values)
    assert np.allclose(whole.high, parts.high)
