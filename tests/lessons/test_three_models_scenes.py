"""Numbers of the lesson about BERT, GPT and T5 against the library's eager attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnviz.errors import InputError
from attnviz.lessons import scenes_of
from attnviz.lessons.word_places import WordTokens, sentence_words
from tests.bounds import MODEL
from tests.lessons.given import eager, given, lesson, load

DRIFT = 1e-4
"""Bound of a relative change: each side rounds a few hundred times in float32."""


@pytest.fixture(scope="module")
def scenes():
    one = lesson("three_models")
    return scenes_of(one, given(one))


def test_masks_and_mean_weights_are_those_of_eager_attention(scenes) -> None:
    scene = scenes["who"]
    words = scene.labels["words"]
    assert words == ("The", "little", "girl", "saw", "a", "big", "black", "dog")
    for column, name in enumerate(("bert-classroom", "gpt-classroom", "t5-classroom")):
        tokens = WordTokens.of(load(name), words)
        network = eager(name)
        body = network.get_encoder() if name.startswith("t5") else network
        with torch.inference_mode():
            out = body(input_ids=torch.tensor([tokens.ids]), output_attentions=True)
        mean = torch.stack(out.attentions).mean((0, 1, 2)).numpy()
        places = [tokens.last[at] for at in range(len(words))]
        expected = mean[np.ix_(places, places)]  # every word is one token here
        shown = scene.arrays["weights"][:, :, column]
        assert np.abs(np.nan_to_num(shown) - expected).max() < MODEL
        assert (np.isnan(shown) == (expected == 0)).all()
        later = np.triu_indices(len(words), 1)
        assert np.isnan(shown[later]).all() == name.startswith("gpt")


def test_changes_are_those_of_eager_hidden_states(scenes) -> None:
    scene = scenes["last"]
    words = scene.labels["words"]
    other = (*words[:-1], scene.labels["others"][-1])
    for column, name in enumerate(("bert-classroom", "gpt-classroom", "t5-classroom")):
        network = eager(name)
        body = network.get_encoder() if name.startswith("t5") else network
        vectors = []
        for sentence in (words, other):
            tokens = WordTokens.of(load(name), sentence)
            with torch.inference_mode():
                out = body(input_ids=torch.tensor([tokens.ids]), output_hidden_states=True)
            vectors.append(out.hidden_states[-1][0][list(tokens.last)].double())
        before, after = vectors
        expected = (((after - before) ** 2).sum(1) / (before**2).sum(1)).sqrt().numpy()
        assert np.abs(scene.arrays["changes"][-1, :, column] - expected).max() < DRIFT
    changed = scene.arrays["changes"][-1] > 1e-3
    assert changed[:, 0].all() and changed[:, 2].all()
    assert changed[:, 1].tolist() == [False] * 7 + [True]


def test_a_changed_target_reaches_later_targets_only(scenes) -> None:
    changes = scenes["decoder"].arrays["changes"]
    count = changes.shape[0]
    assert (changes[:, :, 0] > 1e-3).all()
    later = np.triu(np.ones((count, count), bool))
    assert ((changes[:, :, 1] > 1e-3) == later).all()
    assert changes[:, :, 1][~later].max() < 1e-5


def test_the_default_row_reads_one_word_and_looks_at_another(scenes) -> None:
    scene = scenes["cross"]
    row, top = scene.places["row"], scene.places["top"]
    assert scene.labels["reads"][row] == "·chien"
    assert scene.labels["writes"][row] == "·noir"
    assert scene.labels["sources"][top] == "·black"
    network = eager("t5-classroom")
    tokens = WordTokens.of(load("t5-classroom"), scenes["who"].labels["words"])
    target = network.config.decoder_start_token_id
    ids = load("t5-classroom").tokenizer("La petite fille a vu un gros chien noir.").input_ids
    with torch.inference_mode():
        out = network(
            input_ids=torch.tensor([tokens.ids]),
            decoder_input_ids=torch.tensor([[target, *ids[:-1]]]),
            output_attentions=True,
        )
    expected = out.cross_attentions[2][0, 0].numpy()
    assert np.abs(scene.arrays["weights"] - expected).max() < MODEL


def test_words_of_several_tokens_and_short_sentences() -> None:
    words = sentence_words("The king's fox, unbelievably, ran!")
    assert words == ("The", "king's", "fox", "unbelievably", "ran")
    for name in ("bert-classroom", "gpt-classroom", "t5-classroom"):
        tokens = WordTokens.of(load(name), words)
        everything = [place for word in tokens.places for place in word]
        assert everything == sorted(set(everything))
        assert len(tokens.places[3]) > 1
    with pytest.raises(InputError, match="write a longer sentence"):
        sentence_words("Two words.")
