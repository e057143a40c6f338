"""Rules of position alone: found where they are there, and no better than they are."""

import numpy as np
import pytest

from training.head_roles import earlier_copies
from training.position_rules import best_rule


def places(queries: int, keys: int, pairs: list[tuple[int, int]]) -> np.ndarray:
    table = np.zeros((queries, keys), dtype=bool)
    for query, key in pairs:
        table[query, key] = True
    return table


def test_a_fixed_distance_is_found():
    rule = best_rule([np.eye(6, k=-2, dtype=bool), np.eye(9, k=-2, dtype=bool)])
    assert (rule.score, rule.label) == (1.0, "-2 tokens away")


def test_a_fixed_key_is_found():
    rule = best_rule([places(5, 7, [(row, 3) for row in range(5)])])
    assert (rule.score, rule.label) == (1.0, "always key 3")


def test_only_rows_with_a_right_key_count():
    assert best_rule([places(8, 8, [(2, 1), (5, 4), (7, 0)])]).score == pytest.approx(2 / 3)


def test_the_diagonal_of_texts_of_two_lengths():
    tables = [
        places(3, 8, [(0, 3), (1, 5), (2, 7)]),  # two keys before the diagonal begins
        places(6, 5, [(0, 2), (1, 2), (2, 3), (3, 3), (4, 4), (5, 4)]),
    ]
    rule = best_rule(tables, diagonal=2)
    assert (rule.score, rule.label) == (1.0, "the diagonal")
    assert best_rule(tables).score < 1


def test_one_period_is_a_rule_of_position_and_many_are_not():
    random = np.random.default_rng(0)
    rows = {}
    for period in (5, 9, 14, 20):
        segment = random.permutation(100)[:period].tolist()
        rows[period] = [200, *segment, *segment]
    one = best_rule([earlier_copies(rows[9], after=True)])
    assert (one.score, one.label) == (1.0, "-8 tokens away")
    many = best_rule([earlier_copies(row, after=True) for row in rows.values()])
    assert many.score < 0.5


def test_without_right_keys_there_is_no_rule():
    with pytest.raises(ValueError, match="no query has a right key"):
        best_rule([np.zeros((3, 3), dtype=bool)])


def test_copies_and_what_follows_them():
    copies = earlier_copies([0, 7, 8, 7, 8], after=False)
    assert copies.nonzero()[0].tolist() == [3, 4]
    assert copies.nonzero()[1].tolist() == [1, 2]
    assert earlier_copies([0, 7, 8, 7, 8], after=True).nonzero()[1].tolist() == [2, 3]
