"""Heads that the literature names must be found where it names them (zero-based)."""

from __future__ import annotations

import numpy as np
import pytest

import attnviz
from attnviz import metrics
from attnviz.experiments.repetition import repeat_random
from attnviz.models import Model

# Induction in GPT-2 small on repeated random tokens, begin token first.
INDUCTION = {(5, 5): 0.93, (6, 9): 0.91, (7, 10): 0.91, (5, 1): 0.91, (7, 2): 0.83}
STORY = (
    "When the old fisherman came home that evening, his wife was already waiting at the door. "
    "She informed him that the king had sent a messenger, and that the messenger would come again."
)


@pytest.fixture(scope="module")
def gpt2() -> Model:
    return attnviz.load("openai-community/gpt2")


def test_gpt2_is_proved(gpt2: Model) -> None:
    assert attnviz.verify(attnviz.capture(gpt2, STORY)).holds


def test_gpt2_previous_token_head(gpt2: Model) -> None:
    scores = metrics.per_head("previous_token", attnviz.capture(gpt2, STORY)["self"])
    assert np.unravel_index(scores.argmax(), scores.shape) == (4, 11)
    assert scores[4, 11] > 0.9
    assert scores[2, 2] > np.quantile(scores, 0.9)


def test_gpt2_induction_heads(gpt2: Model) -> None:
    scores = repeat_random(gpt2, period=50, sequences=8).scores["induction"]
    for (layer, head), expected in INDUCTION.items():
        assert scores[layer, head] == pytest.approx(expected, abs=0.05)


def test_gpt2_duplicate_token_heads(gpt2: Model) -> None:
    scores = repeat_random(gpt2, period=50, sequences=8).scores["duplicate_token"]
    best = np.argsort(-scores.ravel())[:6]
    strongest = {tuple(int(part) for part in np.unravel_index(one, scores.shape)) for one in best}
    assert {(0, 1), (0, 10), (3, 0)} <= strongest


def test_bert_reads_sentence_pairs(gpt2: Model) -> None:
    bert = attnviz.load("google-bert/bert-base-uncased")
    capture = attnviz.capture(bert, "The cat sat.", pair="It slept.")
    assert capture["self"].shape[:2] == (12, 12)
    assert attnviz.verify(capture).holds
