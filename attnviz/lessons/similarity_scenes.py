"""Numbers of the lesson about similarity: static word vectors, their products and mixtures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from attnviz.errors import InputError
from attnviz.lessons.mixture_scenes import in_the_plane
from attnviz.lessons.scene import LessonInput, Scene
from attnviz.models import Model

__all__ = ["similarity_scenes", "word_vectors"]

RIVER = ("walk", "by", "river", "bank")
MONEY = ("money", "in", "the", "bank")


def similarity_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes; all vectors are entries of the model's table of word vectors.

    Raises:
        InputError: as `word_vectors`.
    """
    model = given.model
    bank, river, money = word_vectors(model, ("bank", "river", "money"))
    pair, _ = in_the_plane(np.stack([bank, river]), 1)
    first = word_vectors(model, RIVER)
    products = first @ first.T
    row = products[3].copy()
    row[3] = -np.inf
    closest = int(row.argmax())
    cosine = products[3, closest] / np.sqrt(products[3, 3] * products[closest, closest])
    plane = _plane(river - money, bank)
    return {
        "product": Scene(
            labels={"keys": ("bank", "river")},
            arrays={"points": pair},
            places={"query": 0, "key": 1},
            values={"truth": float(bank @ river)},
        ),
        "matrix": Scene(
            labels={"words": RIVER},
            arrays={"products": products},
            values={"closest": RIVER[closest], "closest_cosine": float(cosine)},
            places={"bank": 3, "largest": 12 + closest},
        ),
        "river": _mixture(RIVER, first, plane, {"river": river, "money": money}),
        "money": _mixture(
            MONEY, word_vectors(model, MONEY), plane, {"river": river, "money": money}
        ),
    }


def word_vectors(model: Model, words: Sequence[str]) -> Float[np.ndarray, "word width"]:
    """Return the static vectors of words, without the mean of all words of the vocabulary.

    Raises:
        InputError: a word that the model splits into several tokens.
    """
    ids = []
    for word in words:
        pieces = model.tokenizer(word, add_special_tokens=False).input_ids
        if len(pieces) != 1:
            raise InputError(
                f"{model.info.name} reads {word!r} as {len(pieces)} tokens; choose bert-classroom"
            )
        ids.append(int(pieces[0]))
    table = model.network.get_input_embeddings().weight.detach().double().cpu().numpy()
    vectors: np.ndarray = table[ids] - table.mean(axis=0)
    return vectors


def _plane(
    along: Float[np.ndarray, " width"], also: Float[np.ndarray, " width"]
) -> Float[np.ndarray, "2 width"]:
    """Return two directions at a right angle: the first vector, and what else the second has."""
    first = along / np.linalg.norm(along)
    rest = also - (also @ first) * first
    return np.stack([first, rest / np.linalg.norm(rest)])


def _mixture(
    words: Sequence[str],
    vectors: Float[np.ndarray, "word width"],
    plane: Float[np.ndarray, "2 width"],
    targets: Mapping[str, Float[np.ndarray, " width"]],
) -> Scene:
    """Return the scene in which `bank` becomes the mixture of its sentence."""
    bank = len(words) - 1
    scores = (vectors @ vectors.T)[bank]
    powers = np.exp(scores - scores.max())
    weights = powers / powers.sum()
    mixture = weights @ vectors
    values = {}
    for name, target in targets.items():
        values[f"before_{name}"] = _cosine(vectors[bank], target)
        values[f"after_{name}"] = _cosine(mixture, target)
    return Scene(
        labels={"keys": words},
        arrays={"points": vectors @ plane.T, "weights": weights, "scores": scores},
        values=values,
        places={"bank": bank, "first": 0, "third": 2},
    )


def _cosine(first: Float[np.ndarray, " d"], second: Float[np.ndarray, " d"]) -> float:
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))
