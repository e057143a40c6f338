"""Differences from exact attention beside loops, and what larger settings do to them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attnviz import efficient
from attnviz.efficient.variant_errors import Trade, best_within, difference, trades
from attnviz.errors import InputError


def vectors(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.normal(size=(count, 8)), draw.normal(size=(count, 8)), draw.normal(size=(count, 5))


@pytest.mark.parametrize("causal", [False, True])
def test_a_window_beside_a_loop(causal: bool) -> None:
    query, key, value = vectors(9)
    exact = efficient.run("exact", query, key, value, causal=causal)
    result = efficient.run("window", query, key, value, causal=causal, window=3)
    rows = difference(result, exact)
    for i in range(9):
        seen = [j for j in range(9) if not causal or j <= i]
        near = [j for j in seen if abs(i - j) < 3]
        powers = {j: math.exp(query[i] @ key[j] / math.sqrt(8)) for j in seen}
        total, kept = sum(powers.values()), sum(powers[j] for j in near)
        outside = 1 - kept / total
        # weights inside a window grow by what lies outside it: both sides of the sum are equal
        assert rows.moved[i] == pytest.approx(outside, abs=1e-12)
        assert rows.lost[i] == pytest.approx(outside, abs=1e-12)
        wanted = sum(powers[j] / total * value[j] for j in seen)
        ours = sum(powers[j] / kept * value[j] for j in near)
        relative = np.linalg.norm(ours - wanted) / np.linalg.norm(wanted)
        assert rows.output[i] == pytest.approx(relative, abs=1e-12)


def test_exact_variants_have_no_difference() -> None:
    query, key, value = vectors(12)
    exact = efficient.run("exact", query, key, value)
    for name in ("exact", "flash", "ring"):
        rows = difference(efficient.run(name, query, key, value), exact)
        assert np.abs(rows.moved).max() < 1e-12
        assert np.abs(rows.output).max() < 1e-12
        assert rows.lost.max() == 0


def test_a_zero_output_has_no_relative_error() -> None:
    query, key, value = vectors(4)
    exact = efficient.run("exact", query, key, value * 0)
    rows = difference(efficient.run("window", query, key, value * 0, window=1), exact)
    assert np.isnan(rows.output).all()


def test_shapes_that_differ_are_refused() -> None:
    first = efficient.run("exact", *vectors(4))
    second = efficient.run("exact", *vectors(5))
    with pytest.raises(InputError, match="cannot be compared"):
        difference(first, second)


@pytest.mark.parametrize("causal", [False, True])
def test_trades_are_those_of_single_runs(causal: bool) -> None:
    query, key, value = vectors(20)
    points = trades(query, key, value, causal=causal)
    assert {one.name for one in points} >= {"window", "longformer", "bigbird", "performer"}
    assert {"linformer", "nystromformer"} & {one.name for one in points} == (
        set() if causal else {"linformer", "nystromformer"}
    )
    assert not {"linear", "state_space", "grouped_query"} & {one.name for one in points}
    exact = efficient.run("exact", query, key, value, causal=causal)
    one = next(each for each in points if each.name == "window" and each.setting == 4)
    result = efficient.run("window", query, key, value, causal=causal, window=4)
    apart = np.linalg.norm(result.output - exact.output) / np.linalg.norm(exact.output)
    assert one.error == pytest.approx(apart, abs=1e-12)
    assert one.share == result.operations / exact.operations
    whole = [each for each in points if each.name == "window" and each.setting == 32]
    assert whole[0].error < 1e-12


def test_the_best_setting_within_a_budget() -> None:
    every = [
        Trade("a", 1, 0.2, 0.5),
        Trade("a", 2, 0.4, 0.3),
        Trade("a", 3, 0.9, 0.0),
        Trade("b", 1, 0.5, 0.1),
        Trade("c", 1, 0.6, 0.0),
    ]
    assert best_within(every, 0.5) == [every[3], every[1]]
    assert best_within(every, 0.1) == []
    assert best_within(every, 1.0)[-1] == every[3]
