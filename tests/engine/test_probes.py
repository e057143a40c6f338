"""Repeated sequences: their tokens, scores and losses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from attnviz import Model, metrics
from attnviz.captures.forward_pass import Encoded, capture_ids
from attnviz.errors import AttnvizError, EmptyText, InputError, TextTooLong
from attnviz.experiments.repetition import repeat_random, repeat_text
from tests.bounds import MODEL, SAME

PERIOD = 20


def test_the_second_half_repeats_the_first(gpt: Model) -> None:
    repetition = repeat_random(gpt, period=PERIOD)
    ids = repetition.capture["self"].query_tokens.ids.tolist()
    assert (repetition.begin, repetition.period, len(ids)) == (1, PERIOD, 2 * PERIOD + 1)
    assert ids[0] == gpt.tokenizer.bos_token_id
    assert ids[1 : PERIOD + 1] == ids[PERIOD + 1 :]
    assert not set(ids[1:]) & set(gpt.tokenizer.all_special_ids)


def test_the_same_seed_draws_the_same_tokens(gpt: Model) -> None:
    one, same, other = (repeat_random(gpt, period=PERIOD, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.second_copy, same.second_copy)
    assert (one.second_copy != other.second_copy).any()


def test_scores_are_the_means_over_the_second_copy(gpt: Model) -> None:
    repetition = repeat_random(gpt, period=PERIOD, sequences=1)
    for name, scores in repetition.scores.items():
        rows = metrics.per_row(name, repetition.capture["self"])[:, :, PERIOD + 1 :]
        assert not np.isnan(rows).any()
        np.testing.assert_allclose(scores, rows.mean(-1), atol=SAME)


def test_scores_average_over_sequences(gpt: Model) -> None:
    generator = np.random.default_rng(0)
    words = [n for n in range(len(gpt.tokenizer)) if n not in gpt.tokenizer.all_special_ids]
    drawn = [generator.choice(words, PERIOD).tolist() for _ in range(3)]
    begin = gpt.tokenizer.bos_token_id
    alone = [capture_ids(gpt, [Encoded((begin, *one, *one))])[0] for one in drawn]
    expected = np.mean(
        [metrics.per_row("induction", one["self"])[:, :, PERIOD + 1 :].mean(-1) for one in alone], 0
    )
    repetition = repeat_random(gpt, period=PERIOD, sequences=3, seed=0)
    np.testing.assert_allclose(repetition.scores["induction"], expected, atol=MODEL)
    losses = np.mean([one.losses[PERIOD:-1] for one in alone], 0)
    np.testing.assert_allclose(repetition.second_copy, losses, atol=1e-4)


def test_losses_belong_to_their_tokens(gpt: Model) -> None:
    repetition = repeat_random(gpt, period=PERIOD, sequences=1)
    ids = torch.tensor(repetition.capture["self"].query_tokens.ids)
    with torch.inference_mode():
        chances = gpt.network(ids[None]).logits[0].log_softmax(-1)
    costs = [-float(chances[at - 1, ids[at]]) for at in range(1, len(ids))]
    np.testing.assert_allclose(repetition.first_copy, costs[:PERIOD], atol=1e-4)
    np.testing.assert_allclose(repetition.second_copy, costs[PERIOD:], atol=1e-4)
    gain = np.mean(costs[1:PERIOD]) - np.mean(costs[PERIOD + 1 :])
    assert repetition.gain == pytest.approx(gain, abs=1e-4)


def test_a_random_model_gains_nothing_by_repetition(gpt: Model) -> None:
    assert abs(repeat_random(gpt, period=60).gain) < 1.0


def test_a_text_is_repeated_token_by_token(gpt: Model) -> None:
    repetition = repeat_text(gpt, "The cat sat on the mat.")
    ids = repetition.capture["self"].query_tokens.ids.tolist()[1:]
    assert ids == 2 * gpt.tokenizer("The cat sat on the mat.")["input_ids"]


@pytest.mark.parametrize("period", [0, 1, -3])
def test_a_copy_without_an_order_is_refused(gpt: Model, period: int) -> None:
    with pytest.raises(InputError, match="at least 2 tokens"):
        repeat_random(gpt, period=period)


def test_invalid_repetitions_are_refused(gpt: Model, bert: Model, t5: Model) -> None:
    for model in (bert, t5):
        with pytest.raises(InputError, match="choose a decoder such as a GPT"):
            repeat_random(model, period=PERIOD)
        with pytest.raises(AttnvizError):
            repeat_text(model, "The cat sat.")
    with pytest.raises(EmptyText):
        repeat_text(gpt, "  ")
    with pytest.raises(InputError, match="at least one sequence"):
        repeat_random(gpt, sequences=0)
    with pytest.raises(InputError, match="at least 2 tokens"):
        repeat_text(gpt, "a")


def test_the_longest_period_fits_and_the_next_does_not(gpt: Model) -> None:
    limit = gpt.info.max_tokens
    assert limit is not None
    most = (limit - 1) // 2
    assert len(repeat_random(gpt, period=most, sequences=1).first_copy) == most
    with pytest.raises(TextTooLong, match=f"use at most {most} tokens") as caught:
        repeat_random(gpt, period=most + 1)
    assert (caught.value.tokens, caught.value.limit) == (1 + 2 * (most + 1), limit)
    with pytest.raises(TextTooLong):
        repeat_random(gpt, period=10**15)
    with pytest.raises(TextTooLong, match=f"use at most {most} tokens"):
        repeat_text(gpt, "cat " * 500)


def test_without_a_begin_token_the_first_loss_is_unknown(gpt: Model) -> None:
    import copy

    from attnviz.models import instrument

    tokenizer = copy.deepcopy(gpt.tokenizer)
    tokenizer.bos_token = None
    repetition = repeat_random(instrument(gpt.network, tokenizer), period=PERIOD)
    assert repetition.begin == 0
    assert math.isnan(repetition.first_copy[0])
    assert not np.isnan(repetition.first_copy[1:]).any()
    assert not np.isnan(repetition.second_copy).any()
