"""Words of a sentence, and their tokens in each model's tokenization."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.captures.forward_pass import encode
from attnviz.errors import InputError
from attnviz.lessons.phrases.named_phrases import shared_phrase
from attnviz.models import Model

__all__ = ["FEWEST_WORDS", "MOST_WORDS", "WordTokens", "relative_change", "sentence_words"]

FEWEST_WORDS, MOST_WORDS = 3, 9
"""Words of a sentence that is read by several models."""

_WORD = re.compile(r"\w+(?:['’]\w+)*")


def sentence_words(text: str) -> tuple[str, ...]:
    """Return the first words of a sentence, without punctuation marks.

    Raises:
        InputError: fewer than `FEWEST_WORDS`.
    """
    words = tuple(_WORD.findall(text)[:MOST_WORDS])
    if len(words) < FEWEST_WORDS:
        raise InputError(shared_phrase("few_words", count=len(words), needed=FEWEST_WORDS))
    return words


@dataclass(frozen=True)
class WordTokens:
    """Ids of a sentence in one model, and the positions of the tokens of each word.

    Attributes:
        ids: with the special tokens of the model.
        places: positions per word, [word][token].
    """

    ids: tuple[int, ...]
    places: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, model: Model, words: tuple[str, ...]) -> WordTokens:
        """Return the tokens of words that are separated by single spaces.

        Raises:
            InputError: a word has no token.
        """
        text = " ".join(words)
        read = encode(model, text, pair=None, target=None, begin=None, cut=False, limit=None)
        offsets = model.tokenizer(text, return_offsets_mapping=True)
        if tuple(offsets["input_ids"]) != read.ids:
            raise InputError(shared_phrase("no_words", model=model.info.name))
        spans = np.array(offsets["offset_mapping"]).reshape(-1, 2)
        places, begin = [], 0
        for word in words:
            end = begin + len(word)
            inside = (spans[:, 0] < end) & (spans[:, 1] > begin)
            places.append(tuple(np.flatnonzero(inside).tolist()))
            begin = end + 1
        if not all(places):
            raise InputError(shared_phrase("word_without_token", model=model.info.name))
        return cls(read.ids, tuple(places))

    @property
    def last(self) -> tuple[int, ...]:
        """Return the position of the last token of each word."""
        return tuple(tokens[-1] for tokens in self.places)


def relative_change(
    before: Float[Tensor, "row width"], after: Float[Tensor, "row width"]
) -> Float[np.ndarray, " row"]:
    """Return the length of the change of each vector, divided by the vector's length."""
    with torch.inference_mode():
        size = before.norm(dim=-1).clamp_min(torch.finfo(before.dtype).tiny)
        change = (after - before).norm(dim=-1) / size
    return np.asarray(change.double().cpu())
