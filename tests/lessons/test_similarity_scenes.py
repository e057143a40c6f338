"""Numbers of the lesson about similarity from the rows of the model's word table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnviz.errors import InputError
from attnviz.lessons import scenes_of
from attnviz.lessons.similarity_scenes import word_vectors
from tests.lessons.given import given, lesson, load


@pytest.fixture(scope="module")
def scenes():
    one = lesson("similarity")
    return scenes_of(one, given(one))


@pytest.fixture(scope="module")
def table() -> dict[str, torch.Tensor]:
    """Read the word vectors from the shipped file itself."""
    model = load("bert-classroom")
    weight = model.network.bert.embeddings.word_embeddings.weight.detach().double()
    centred = weight - weight.mean(0)
    vocabulary = model.tokenizer.get_vocab()
    words = ("walk", "by", "river", "bank", "money", "in", "the")
    return {word: centred[vocabulary[word]] for word in words}


def test_products_and_the_plane(scenes, table) -> None:
    points = scenes["product"].arrays["points"]
    dot = float(table["bank"] @ table["river"])
    assert points[0] @ points[1] == pytest.approx(dot, abs=1e-9)
    for place, word in enumerate(("bank", "river")):
        assert np.linalg.norm(points[place]) == pytest.approx(float(table[word].norm()))
    assert scenes["product"].values["truth"] == pytest.approx(dot)
    words = ("walk", "by", "river", "bank")
    for row, first in enumerate(words):
        for column, second in enumerate(words):
            shown = scenes["matrix"].arrays["products"][0, row, column]
            assert shown == pytest.approx(float(table[first] @ table[second]), abs=1e-9)
            cosine = torch.cosine_similarity(table[first], table[second], dim=0)
            shown = scenes["matrix"].arrays["products"][1, row, column]
            assert shown == pytest.approx(float(cosine), abs=1e-9)
    assert scenes["matrix"].values["closest"] == "river"


def test_bank_moves_to_its_sentence(scenes, table) -> None:
    for name, words in (("river", "walk by river bank"), ("money", "money in the bank")):
        vectors = torch.stack([table[word] for word in words.split()])
        mixture = torch.softmax(vectors @ vectors[3], 0) @ vectors
        values = scenes[name].values
        for side, target in (("right", "river"), ("left", "money")):
            after = torch.cosine_similarity(mixture, table[target], dim=0)
            assert values[f"after_{side}"] == pytest.approx(float(after))
        near = {"river": "right", "money": "left"}[name]
        assert values[f"{near}_word"] == name
        assert values[f"after_{near}"] > values[f"before_{near}"] + 0.1
        arrays = scenes[name].arrays
        assert (
            np.abs(arrays["weights"] - torch.softmax(vectors @ vectors[3], 0).numpy()).max() < 1e-9
        )
    across = [
        (scenes[name].arrays["weights"] @ scenes[name].arrays["points"])[0]
        for name in ("river", "money")
    ]
    assert across[0] > 0 > across[1]  # river at the right, money at the left


def test_words_of_several_tokens_are_refused() -> None:
    with pytest.raises(InputError, match="“photosynthesis” is not in the vocabulary"):
        word_vectors(load("bert-classroom"), ("photosynthesis",))


def test_the_students_phrases_take_their_place() -> None:
    one = lesson("similarity")
    scenes = scenes_of(one, given(one, "A king wore the ring. They danced in a ring."))
    values = scenes["product"].values
    assert values["word"] == "ring"
    assert values["right_word"] in ("a", "king", "wore", "the")
    assert scenes["money"].labels["keys"] == ("they", "danced", "in", "a", "ring")
    for name, side in (("river", "right"), ("money", "left")):
        point = scenes[name].arrays["points"][scenes[name].places["near"]]
        assert np.sign(point[0]) == (1 if side == "right" else -1) or np.isclose(point[0], 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("walk by river bank", "1 phrases"),
        ("a b. c d. e f", "3 phrases"),
        ("river bank. money bag", "end both with"),
        ("bank. money bank", "2 to 6 words"),
        ("river bank. the river bank", "closest word in both"),
    ],
)
def test_other_phrases_are_refused_with_advice(text: str, said: str) -> None:
    one = lesson("similarity")
    with pytest.raises(InputError, match=said):
        scenes_of(one, given(one, text))
