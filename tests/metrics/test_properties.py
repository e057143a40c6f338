"""Metrics of simple maps with known values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attnviz import metrics
from attnviz.attention import AttentionStack
from tests.bounds import SAME
from tests.engine.handmade import causal, from_scores

N = 12
SURE = 60.0  # score so high that its weight is one


def looks_at(offset: int, n: int = N, ids: object = None, back: bool = True) -> AttentionStack:
    """Return one head with all weight at a fixed offset, or on itself at the edges."""
    scores = np.zeros((1, 1, n, n))
    for row in range(n):
        key = row + offset
        scores[0, 0, row, key if 0 <= key < n else row] = SURE
    return from_scores(scores, causal(n) if back else None, ids)


def value(metric: str, stack: AttentionStack) -> float:
    return float(metrics.per_head(metric, stack)[0, 0])


def test_uniform_attention_has_the_largest_entropy() -> None:
    flat = from_scores(np.zeros((1, 1, N, N)))
    np.testing.assert_allclose(metrics.per_row("entropy", flat), math.log(N), rtol=SAME)
    np.testing.assert_allclose(metrics.per_row("normalized_entropy", flat), 1, rtol=SAME)
    assert value("max_weight", flat) == pytest.approx(1 / N, abs=SAME)


def test_causal_rows_are_normalised_by_their_visible_keys() -> None:
    flat = from_scores(np.zeros((1, 1, N, N)), causal(N))
    rows = metrics.per_row("entropy", flat)[0, 0]
    np.testing.assert_allclose(rows, np.log(np.arange(1, N + 1)), atol=SAME)
    share = metrics.per_row("normalized_entropy", flat)[0, 0]
    assert np.isnan(share[0])
    np.testing.assert_allclose(share[1:], 1, rtol=SAME)


def test_a_perfect_previous_token_head() -> None:
    head = looks_at(-1)
    assert value("previous_token", head) == pytest.approx(1, abs=SAME)
    assert value("max_weight", head) == pytest.approx(1, abs=SAME)
    assert value("entropy", head) == pytest.approx(0, abs=SAME)
    assert value("mean_distance", head) == pytest.approx((N - 1) / N, abs=SAME)
    assert np.isnan(metrics.per_row("previous_token", head)[0, 0, 0])
    assert np.isnan(value("next_token", head))
    assert metrics.per_row("self", head)[0, 0, 1:] == pytest.approx(0, abs=SAME)


def test_a_perfect_next_token_head() -> None:
    head = looks_at(1, back=False)
    assert value("next_token", head) == pytest.approx(1, abs=SAME)
    assert np.isnan(metrics.per_row("next_token", head)[0, 0, -1])
    assert value("previous_token", head) == pytest.approx(0, abs=SAME)


def test_a_perfect_self_head() -> None:
    assert value("self", looks_at(0)) == pytest.approx(1, abs=SAME)
    assert value("mean_distance", looks_at(0)) == pytest.approx(0, abs=SAME)


@pytest.mark.parametrize("period", [2, 4, 5])
def test_the_induction_stripe_lies_at_one_less_than_the_period(period: int) -> None:
    ids = np.arange(N) % period
    stripe, copies = looks_at(1 - period, ids=ids), looks_at(-period, ids=ids)
    second = metrics.per_row("induction", stripe)[0, 0, period:]
    np.testing.assert_allclose(second, 1, atol=SAME)
    assert np.isnan(metrics.per_row("induction", stripe)[0, 0, :period]).all()
    assert value("duplicate_token", copies) == pytest.approx(1, abs=SAME)
    assert value("induction", copies) == pytest.approx(0, abs=SAME)
    assert value("duplicate_token", stripe) == pytest.approx(0, abs=SAME)


def test_a_token_repeated_at_once_is_followed_by_itself() -> None:
    ids = [7, 7, 3, 4]
    assert metrics.per_row("induction", looks_at(0, 4, ids))[0, 0, 1] == pytest.approx(1, abs=SAME)
    assert metrics.per_row("duplicate_token", looks_at(-1, 4, ids))[0, 0, 1] == pytest.approx(
        1, abs=SAME
    )


def test_without_repetition_there_is_no_induction_score() -> None:
    for metric in ("induction", "duplicate_token"):
        assert np.isnan(value(metric, looks_at(-1)))


@pytest.mark.parametrize("key", [0, 3])
def test_a_sink_is_the_key_with_most_weight(key: int) -> None:
    scores = np.zeros((1, 1, N, N))
    scores[..., key] = SURE
    for back, rows in ((True, N - key), (False, N)):
        head = from_scores(scores, causal(N) if back else None)
        assert metrics.sink_key(head)[0, 0] == key
        assert value("sink", head) == pytest.approx(1, abs=SAME)
        assert np.sum(~np.isnan(metrics.per_row("sink", head))) == rows
        assert metrics.received(head)[0, 0, key] == pytest.approx(1, abs=SAME)
        assert value("sink_first", head) == pytest.approx(1 if key == 0 else 0, abs=0.3)


def test_the_last_causal_key_is_no_sink() -> None:
    """One query sees it, so its mean weight is no evidence."""
    head = looks_at(0)
    assert metrics.sink_key(head)[0, 0] < N / 2 + 1


@pytest.mark.parametrize("width", [2, 3, 5])
def test_a_narrow_window_has_sinks_too(width: int) -> None:
    position = np.arange(N)
    window = causal(N) & (position[:, None] - position < width)
    flat = from_scores(np.zeros((1, 1, N, N)), window)
    assert 0 < value("sink", flat) <= 1
    rows = metrics.per_row("sink", flat)[0, 0]
    assert np.nanmin(rows) > 0
    assert np.sum(~np.isnan(rows)) <= width


def test_permuting_heads_permutes_metrics() -> None:
    scores = np.random.default_rng(0).normal(0, 2, (2, 5, N, N))
    order = [3, 0, 4, 1, 2]
    ids = np.arange(N) % 5
    one, other = from_scores(scores, causal(N), ids), from_scores(scores[:, order], causal(N), ids)
    for metric in metrics.names():
        for compute in (metrics.per_row, metrics.per_head):
            np.testing.assert_allclose(
                compute(metric, one)[:, order], compute(metric, other), atol=SAME, err_msg=metric
            )


def test_permuting_words_of_the_vocabulary_changes_nothing() -> None:
    """Metrics depend on which tokens are equal, not on their ids."""
    scores = np.random.default_rng(1).normal(0, 2, (1, 3, N, N))
    ids = np.array([1, 2, 3, 1, 2, 3, 4, 1, 5, 2, 3, 1])
    one = from_scores(scores, causal(N), ids)
    other = from_scores(scores, causal(N), 900 - 7 * ids)
    for metric in metrics.names():
        np.testing.assert_array_equal(metrics.per_row(metric, one), metrics.per_row(metric, other))


def test_sharper_scores_lower_the_entropy() -> None:
    scores = np.random.default_rng(2).normal(0, 1, (1, 1, N, N))
    entropies = [value("entropy", from_scores(factor * scores)) for factor in (0.5, 1, 2, 8)]
    assert entropies == sorted(entropies, reverse=True)
    assert len(set(entropies)) == 4


def test_values_are_within_the_limits_of_the_metric() -> None:
    scores = np.random.default_rng(4).normal(0, 30, (2, 3, N, N))
    for visible in (None, causal(N)):
        stack = from_scores(scores, visible, np.arange(N) % 4)
        for metric in metrics.names():
            low, high = metrics.describe(metric).limits
            values = metrics.per_row(metric, stack)
            values = values[~np.isnan(values)]
            assert low is None or (values >= low - SAME).all(), metric
            assert high is None or (values <= high + SAME).all(), metric
