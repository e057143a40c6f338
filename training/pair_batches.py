"""Translated pairs in batches whose sources have one length, so that no source is padded."""

import json
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

IGNORED = -100
FIRST_PIECE = 3  # the ids before are special
SELDOM = 40  # a word in no more sentences than these is in every round
COMMON_CHANCE = 0.25  # that of a sentence of words that are in many

Pieces = list[int]


@dataclass(frozen=True)
class PairBatch:
    """Sources of one length; targets are filled up with `IGNORED`."""

    source: Tensor
    target: Tensor


class Splits:
    """Pieces that each piece falls into if it may not be used itself.

    Learning from words cut in other ways than the likeliest keeps a model from learning rare words
    as pictures (Kudo 2018; Provilkov et al. 2020 for pairs of bytes).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        vocabulary = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["vocab"]
        scores = {piece: (score, index) for index, (piece, score) in enumerate(vocabulary)}
        self.parts: list[Pieces] = [
            [index] if index < FIRST_PIECE else best_split(piece, scores) or [index]
            for index, (piece, _) in enumerate(vocabulary)
        ]

    def sample(
        self, texts: list[Pieces], share: float, random: np.random.Generator
    ) -> list[Pieces]:
        """Return the texts with a share of all pieces cut in parts."""
        ends = np.cumsum([len(text) for text in texts])
        places = np.flatnonzero(random.random(int(ends[-1])) < share)
        rows = np.searchsorted(ends, places, side="right")
        pieces = list(texts)
        # From the last place to the first, so that the places before stay where they are.
        for row, place in zip(rows[::-1].tolist(), places[::-1].tolist(), strict=True):
            text = pieces[row]
            at = place - (int(ends[row]) - len(texts[row]))
            pieces[row] = [*text[:at], *self.parts[text[at]], *text[at + 1 :]]
        return pieces


def best_split(piece: str, scores: dict[str, tuple[float, int]]) -> Pieces | None:
    """Return the likeliest way to write a piece with shorter ones, or None."""
    best: list[tuple[float, Pieces] | None] = [(0.0, [])]
    for end in range(1, len(piece) + 1):
        ways = [
            (before[0] + scores[piece[start:end]][0], [*before[1], scores[piece[start:end]][1]])
            for start in range(end)
            if end - start < len(piece)
            and (before := best[start]) is not None
            and piece[start:end] in scores
        ]
        best.append(max(ways) if ways else None)
    return best[-1][1] if best[-1] else None


def chances(sentences: list[str]) -> np.ndarray:
    """Return every sentence's chance to take part in a round, by its most seldom word.

    Half of the pairs say what hundreds of others say, in words that are long known; what a small
    model gets wrong, even among the pairs it learns from, is words of a dozen sentences. So a round
    holds all of those and some of the others, and takes two thirds of the time.
    """
    words = [set(re.findall(r"\w+", sentence.lower())) for sentence in sentences]
    counts = Counter(word for row in words for word in row)
    seldom = np.array([min((counts[word] for word in row), default=SELDOM) for row in words])
    return np.clip(SELDOM / seldom, COMMON_CHANCE, 1.0)


def batches(
    sources: list[Pieces], targets: list[Pieces], tokens: int, random: np.random.Generator
) -> list[PairBatch]:
    """Return all pairs once in batches of at most about `tokens` tokens, in random order."""
    order = random.permutation(len(sources)).tolist()
    order.sort(key=lambda index: (len(sources[index]), len(targets[index])))
    groups: list[list[int]] = []
    length = 0
    for index in order:
        size = len(sources[index]) + len(targets[index])
        group = groups[-1] if groups else []
        if not group or len(sources[index]) != length or (len(group) + 1) * size > tokens:
            groups.append([])
            length = len(sources[index])
        groups[-1].append(index)
    random.shuffle(groups)
    return [
        PairBatch(
            torch.tensor([sources[index] for index in group]),
            padded([targets[index] for index in group], IGNORED),
        )
        for group in groups
    ]


def padded(rows: list[Pieces], filler: int) -> Tensor:
    """Return rows as one tensor, [row, position]."""
    width = max(len(row) for row in rows)
    return torch.tensor([row + [filler] * (width - len(row)) for row in rows])
