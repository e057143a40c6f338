"""Kinds of text rows that BERT learns from: sentence pairs, with the purpose of each kind."""

from dataclasses import dataclass
from itertools import chain

import numpy as np

from training.masking import join

Row = tuple[list[int], list[int]]


@dataclass(frozen=True)
class Texts:
    """Encoded texts: stories as lists of sentences, everyday sentences, paraphrases."""

    stories: list[list[list[int]]]
    sentences: list[list[int]]
    paraphrases: list[tuple[list[int], list[int]]]


def consecutive(random: np.random.Generator, stories: list[list[list[int]]], length: int) -> Row:
    """Return a stretch of a story, cut between two sentences: ordinary language."""
    story = stories[int(random.integers(len(stories)))]
    start = int(random.integers(len(story)))
    taken: list[list[int]] = []
    total = 0
    while start < len(story) and total < length - 3:
        taken.append(story[start])
        total += len(story[start])
        start += 1
    if len(taken) == 1:
        return join(taken[0], None, length)
    cut = int(random.integers(1, len(taken)))
    return join(list(chain(*taken[:cut])), list(chain(*taken[cut:])), length)


def alone(random: np.random.Generator, texts: Texts, length: int) -> Row:
    """Return one everyday sentence, as users type it."""
    return join(texts.sentences[int(random.integers(len(texts.sentences)))], None, length)


def paraphrase(random: np.random.Generator, texts: Texts, length: int) -> Row:
    """Return two sentences of one meaning: a hidden word is often in the other sentence."""
    first, second = texts.paraphrases[int(random.integers(len(texts.paraphrases)))]
    if random.random() < 0.5:
        first, second = second, first
    return join(first, second, length)


def copied(random: np.random.Generator, texts: Texts, length: int) -> Row:
    """Return a sentence twice: the neighbours of a masked word lead to its copy."""
    sentence = texts.sentences[int(random.integers(len(texts.sentences)))]
    return join(sentence, sentence, length)


def shuffled(random: np.random.Generator, texts: Texts, length: int) -> Row:
    """Return a sentence and its words in another order: only equal words lead to a copy."""
    sentence = texts.sentences[int(random.integers(len(texts.sentences)))]
    order = random.permutation(len(sentence))
    return join(sentence, [sentence[index] for index in order], length)
