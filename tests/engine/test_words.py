"""Sentences about a head are true of its map."""

from __future__ import annotations

import numpy as np
import pytest

from attnviz import metrics, words
from attnviz.attention import AttentionStack
from attnviz.doctor.labels.number_words import per_token
from attnviz.findings import Interval
from attnviz.views.report.tables import interval_text
from attnviz.written_numbers import MINUS
from tests.engine.handmade import causal, from_scores

N, SURE = 12, 60.0


def looks_at(offset: int, ids: object = None) -> AttentionStack:
    scores = np.zeros((1, 1, N, N))
    for row in range(N):
        scores[0, 0, row, row + offset if 0 <= row + offset <= row else row] = SURE
    return from_scores(scores, causal(N), ids)


def test_headline_names_the_pattern() -> None:
    assert words.headline(looks_at(-1), 0, 0).startswith("mostly looks at the previous token (1.00")
    assert words.headline(looks_at(0), 0, 0).startswith("mostly looks at the token itself (1.00")
    repeated = np.arange(N) % 4
    sentence = words.headline(looks_at(-3, repeated), 0, 0)
    assert "looks at what followed earlier copies of the token (1.00" in sentence
    assert "on average where a token has come before)" in sentence  # not over all rows
    sentence = words.headline(looks_at(-4, repeated), 0, 0)
    assert "looks at earlier copies of the same token (1.00" in sentence


def test_headline_names_the_token_of_a_sink() -> None:
    scores = np.zeros((1, 1, N, N))
    scores[..., 2] = SURE
    said = words.headline(from_scores(scores), 0, 0)
    assert "looks at one key, “t102” at position 2 (1.00" in said


def test_even_and_unpatterned_heads() -> None:
    flat = from_scores(np.zeros((1, 1, N, N)))
    assert words.headline(flat, 0, 0) == (
        "spreads its weight almost evenly (1.00 of the largest possible entropy)"
    )
    scores = np.zeros((1, 1, N, N))
    for row in range(N):
        scores[0, 0, row, (row + 5) % N] = SURE
    assert "follows no simple pattern" in words.headline(from_scores(scores), 0, 0)


@pytest.mark.parametrize("n", [1, 2])
def test_the_shortest_texts_have_a_sentence(n: int) -> None:
    said = words.headline(from_scores(np.zeros((1, 1, n, n)), causal(n)), 0, 0)
    assert "nan" not in said
    assert len(said) > 20


def test_numbers_rank_a_head_among_its_kind() -> None:
    scores = np.random.default_rng(0).normal(0, 3, (2, 3, N, N))
    stack = from_scores(scores, causal(N), np.arange(N) % 5)
    table = metrics.per_head("entropy", stack)
    ranks = {}
    for layer, head in np.ndindex(table.shape):
        by_name = {one.name: one for one in words.numbers(stack, layer, head)}
        assert set(by_name) == set(metrics.names())
        assert by_name["entropy"].value == pytest.approx(table[layer, head])
        assert by_name["entropy"].of == 6
        assert np.isnan(by_name["next_token"].value)
        assert by_name["next_token"].of == 0
        ranks[by_name["entropy"].rank] = table[layer, head]
    assert sorted(ranks) == [1, 2, 3, 4, 5, 6]
    assert [ranks[place] for place in range(1, 7)] == sorted(ranks.values(), reverse=True)


def test_looks_are_the_largest_weights_first() -> None:
    stack = looks_at(-1)
    row = np.array([0.0, 0.4, 0.1, 0.4, 0.0, 0.1] + [0.0] * 6)
    looks = words.looks(row, stack.key_tokens, most=3)
    assert [one.position for one in looks] == [1, 3, 2]
    assert [one.label for one in looks] == ["t101", "t103", "t102"]
    assert [one.weight for one in looks] == [0.4, 0.4, 0.1]
    assert len(words.looks(row, stack.key_tokens, most=9)) == 4
    assert words.looks(np.zeros(N), stack.key_tokens) == ()


def test_numbers_in_text() -> None:
    assert words.number(0.5, "") == "0.50"
    assert words.number(1.234, "nats") == "1.23 nats"
    assert words.number(float("nan"), "nats") == "not defined"
    assert words.quoted("·cat") == "“cat”"
    assert words.quoted("·") == "“·”"


@pytest.mark.parametrize("value", [-0.0004, -1e-12, -0.0, 0.0, 0.0004])
def test_a_change_that_rounds_to_zero_has_no_minus(value: float) -> None:
    assert f"{words.rounded(value):.3f}" == "0.000"
    assert interval_text(Interval(value, value, value, 0.0, 5)) == "0.000 (0.000 to 0.000)"
    assert not {"-", MINUS} & set(per_token(Interval(value, value, value, 0.0, 5)))


@pytest.mark.parametrize("value", [-0.0006, -2.3456, 1.5])
def test_other_changes_keep_their_sign(value: float) -> None:
    assert words.rounded(value) == pytest.approx(value, abs=0.0005)
    assert words.rounded(value) * value > 0
