"""Rows that the models are trained on, compared with their names."""

import numpy as np
import pytest
import torch

from training import bert_rows
from training.masking import BEGIN, IGNORED, MASK, PAD, SEPARATOR, SPECIALS, hide, join
from training.repeats import BEGIN_ID, draw_repeats, two_copies

TEXTS = bert_rows.Texts(
    stories=[[[10, 11], [12], [13, 14, 15]], [[16]]],
    sentences=[[20, 21, 22, 23]],
    paraphrases=[([30, 31], [31, 32])],
)


def test_predictable_tokens_are_copies_of_the_token_one_period_earlier():
    random = np.random.default_rng(0)
    ids, predictable = draw_repeats(random, 8, 60, (7, 7), 1000)
    rows, places = predictable.nonzero(as_tuple=True)
    assert torch.equal(ids[rows, places], ids[rows, places - 7])
    assert not predictable[:, :9].any()
    assert (ids[:, 0] == BEGIN_ID).all()


def test_the_probe_is_the_begin_token_and_two_equal_copies():
    probe = two_copies(seed=1, rows=3, period=50, vocabulary=4096)
    assert probe.shape == (3, 101)
    assert torch.equal(probe[:, 1:51], probe[:, 51:])
    assert torch.equal(probe, two_copies(seed=1, rows=3, period=50, vocabulary=4096))


def test_a_pair_is_joined_with_specials_and_types():
    ids, types = join([7, 8], [9], 16)
    assert ids == [BEGIN, 7, 8, SEPARATOR, 9, SEPARATOR]
    assert types == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("second", [None, list(range(50, 80))])
def test_a_long_pair_is_cut_to_the_length_and_keeps_its_specials(second):
    ids, types = join(list(range(10, 50)), second, 20)
    assert len(ids) == len(types) == 20
    assert ids[0] == BEGIN and ids[-1] == SEPARATOR


def test_hidden_tokens_are_the_targets_and_nothing_else_changes():
    random = np.random.default_rng(0)
    rows = [join(list(range(10, 40)), list(range(40, 70)), 64) for _ in range(50)]
    rows.append(join([10], None, 64))
    batch = hide(random, rows, 100)
    original = torch.tensor([ids + [PAD] * (batch.ids.shape[1] - len(ids)) for ids, _ in rows])
    guessed = batch.targets != IGNORED
    assert torch.equal(batch.targets[guessed], original[guessed])
    assert torch.equal(batch.ids[~guessed], original[~guessed])
    assert (batch.targets[guessed] >= SPECIALS).all()
    assert guessed.float().mean().item() == pytest.approx(0.14, abs=0.02)
    assert (batch.ids[guessed] == MASK).float().mean().item() == pytest.approx(0.8, abs=0.08)
    assert torch.equal(batch.attention, (original != PAD).long())


def test_more_is_hidden_in_the_sentence_that_is_asked_more():
    random = np.random.default_rng(0)
    rows = [join(list(range(10, 40)), list(range(40, 70)), 64) for _ in range(50)]
    batch = hide(random, rows, 100, share=(0.0, 0.5))
    guessed = batch.targets != IGNORED
    assert not guessed[batch.types == 0].any()
    assert guessed[batch.types == 1].float().mean().item() > 0.4


def test_consecutive_rows_hold_neighbouring_sentences_in_order():
    random = np.random.default_rng(0)
    for _ in range(20):
        ids, _ = bert_rows.consecutive(random, TEXTS.stories, 32)
        words = [i for i in ids if i >= SPECIALS]
        assert words == sorted(words)


@pytest.mark.parametrize("kind", ["copied", "shuffled"])
def test_both_sentences_have_the_same_words(kind):
    ids, types = getattr(bert_rows, kind)(np.random.default_rng(0), TEXTS, 32)
    first = sorted(i for i, t in zip(ids, types, strict=True) if t == 0 and i >= SPECIALS)
    second = sorted(i for i, t in zip(ids, types, strict=True) if t == 1 and i >= SPECIALS)
    assert first == second == [20, 21, 22, 23]
