"""Numbers of the lesson about similarity: static word vectors, their products and mixtures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from attnviz.errors import InputError
from attnviz.lessons.mixture_scenes import in_the_plane
from attnviz.lessons.phrases.named_phrases import phrases_of
from attnviz.lessons.scene import LessonInput, Scene
from attnviz.models import Model

__all__ = ["similarity_scenes", "two_phrases", "word_vectors"]

phrase = phrases_of("similarity")

MOST_WORDS = 6
"""Words of a phrase: as many as can be read in a plane."""

Words = tuple[str, ...]


def similarity_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes; all vectors are entries of the model's table of word vectors.

    In each of two phrases the last word becomes a mixture. The plane of both mixtures has the
    closest word of the first phrase at the right and that of the second at the left.

    Raises:
        InputError: as `two_phrases` and `word_vectors`; or both phrases have the same closest word.
    """
    phrases = two_phrases(given.capture.text)
    vectors = [word_vectors(given.model, words) for words in phrases]
    closest = [_closest(*one) for one in zip(phrases, vectors, strict=True)]
    right, left = (words[at] for words, at in zip(phrases, closest, strict=True))
    if right == left:
        raise InputError(phrase("same_closest", word=right))
    targets = {"right": vectors[0][closest[0]], "left": vectors[1][closest[1]]}
    plane = _plane(targets["right"] - targets["left"], vectors[0][-1])
    texts = {"word": phrases[0][-1], "right_word": right, "left_word": left}
    return {
        "product": _product(vectors[0][-1], targets["right"], texts),
        "matrix": _matrix(phrases[0], vectors[0], closest[0], texts),
        "river": _mixture(phrases[0], vectors[0], plane, targets, texts, "right"),
        "money": _mixture(phrases[1], vectors[1], plane, targets, texts, "left"),
    }


def two_phrases(text: str) -> tuple[Words, Words]:
    """Return the words of two phrases that end with the same word.

    Raises:
        InputError: another number of phrases, a phrase of one word or of too many, or different
            last words.
    """
    parts = [tuple(re.findall(r"\w+(?:['’]\w+)*", part.lower())) for part in text.split(".")]
    phrases = [part for part in parts if part]
    if len(phrases) != 2:
        raise InputError(phrase("phrases_differ", count=len(phrases)))
    first, second = phrases
    if first[-1] != second[-1]:
        raise InputError(phrase("ends_differ", one=first[-1], other=second[-1]))
    if not all(len(set(words)) >= 2 and len(words) <= MOST_WORDS for words in phrases):
        raise InputError(phrase("words_differ", most=MOST_WORDS))
    return first, second


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
                phrase("in_pieces", word=word, model=model.info.name, count=len(pieces))
            )
        ids.append(int(pieces[0]))
    table = model.network.get_input_embeddings().weight.detach().double().cpu().numpy()
    vectors: np.ndarray = table[ids] - table.mean(axis=0)
    return vectors


def _closest(words: Words, vectors: Float[np.ndarray, "word width"]) -> int:
    """Return the place of the other word with the largest product with the last one."""
    row = vectors @ vectors[-1]
    row[[at for at, word in enumerate(words) if word == words[-1]]] = -np.inf
    return int(row.argmax())


def _product(
    word: Float[np.ndarray, " width"], other: Float[np.ndarray, " width"], texts: Mapping[str, str]
) -> Scene:
    """Return the scene of two arrows in the plane that holds both."""
    pair, _ = in_the_plane(np.stack([word, other]), 1)
    # No product is larger than the product of the lengths.
    bound = float(np.ceil(np.linalg.norm(word) * np.linalg.norm(other)))
    return Scene(
        labels={"keys": (texts["word"], texts["right_word"])},
        arrays={"points": pair},
        places={"query": 0, "key": 1},
        values={
            **texts,
            "truth": float(word @ other),
            "lowest": -bound,
            "highest": bound,
            "far": 1.5 * float(np.linalg.norm(pair, axis=1).max()),
        },
    )


def _matrix(
    words: Words, vectors: Float[np.ndarray, "word width"], closest: int, texts: Mapping[str, str]
) -> Scene:
    """Return the scene of all products and all cosines, [kind, word, word]."""
    lengths = np.linalg.norm(vectors, axis=1)
    products = vectors @ vectors.T
    cosines = products / np.outer(lengths, lengths)
    count = len(words)
    return Scene(
        labels={"words": words, "kinds": (phrase("products"), phrase("cosines"))},
        arrays={"products": np.stack([products, cosines])},
        values={
            **texts,
            "count": float(count),
            "closest": words[closest],
            "closest_product": float(products[-1, closest]),
            "closest_cosine": float(cosines[-1, closest]),
        },
        places={"bank": count - 1, "largest": (count - 1) * count + closest},
    )


def _plane(
    along: Float[np.ndarray, " width"], also: Float[np.ndarray, " width"]
) -> Float[np.ndarray, "2 width"]:
    """Return two directions at a right angle: the first vector, and what else the second has."""
    first = along / np.linalg.norm(along)
    rest = also - (also @ first) * first
    return np.stack([first, rest / np.linalg.norm(rest)])


def _mixture(
    words: Words,
    vectors: Float[np.ndarray, "word width"],
    plane: Float[np.ndarray, "2 width"],
    targets: Mapping[str, Float[np.ndarray, " width"]],
    texts: Mapping[str, str],
    near: str,
) -> Scene:
    """Return the scene in which the last word becomes the mixture of its phrase."""
    last = len(words) - 1
    scores = (vectors @ vectors.T)[last]
    powers = np.exp(scores - scores.max())
    weights = powers / powers.sum()
    mixture = weights @ vectors
    values: dict[str, float | str] = {**texts, "phrase": " ".join(words)}
    for name, target in targets.items():
        values[f"before_{name}"] = _cosine(vectors[last], target)
        values[f"after_{name}"] = _cosine(mixture, target)
    return Scene(
        labels={"keys": words},
        arrays={"points": vectors @ plane.T, "weights": weights, "scores": scores},
        values=values,
        places={"bank": last, "near": words.index(texts[f"{near}_word"])},
    )


def _cosine(first: Float[np.ndarray, " d"], second: Float[np.ndarray, " d"]) -> float:
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))
