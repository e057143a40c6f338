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
            shown = scenes["matrix"].arrays["products"][row, column]
            assert shown == pytest.approx(float(table[first] @ table[second]), abs=1e-9)
    assert scenes["matrix"].values["closest"] == "river"


def test_bank_moves_to_its_sentence(scenes, table) -> None:
    for name, words in (("river", "walk by river bank"), ("money", "money in the bank")):
        vectors = torch.stack([table[word] for word in words.split()])
        mixture = torch.softmax(vectors @ vectors[3], 0) @ vectors
        values = scenes[name].values
        for target in ("river", "money"):
            after = torch.cosine_similarity(mixture, table[target], dim=0)
            assert values[f"after_{target}"] == pytest.approx(float(after))
        assert values[f"after_{name}"] > values[f"before_{name}"] + 0.1
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
    with pytest.raises(InputError, match="choose bert-classroom"):
        word_vectors(load("bert-classroom"), ("photosynthesis",))
