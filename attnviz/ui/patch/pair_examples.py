"""Pairs of texts to begin with, and what the classroom models do on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attnviz.types import Family

__all__ = ["PAIRS", "PairExample"]


@dataclass(frozen=True)
class PairExample:
    """Pair of texts that differ in one thing.

    Attributes:
        title: for a menu.
        clean: clean text.
        corrupted: corrupted text.
        answer: word that fits the clean text.
        other: word that fits the corrupted text.
        target: beginning of what an encoder-decoder writes.
        note: what the classroom model does on texts of this kind, as measured.
    """

    title: str
    clean: str
    corrupted: str
    answer: str
    other: str
    target: str = ""
    note: str = ""


PAIRS: Mapping[Family, tuple[PairExample, ...]] = {
    "decoder": (
        PairExample(
            "What stood behind “red”",
            "The red dog saw the blue bird. The red",
            "The blue dog saw the red bird. The red",
            "dog",
            "bird",
            note="gpt-classroom copies what followed the first “red”. Its previous-token head "
            "L0·H7 moves that information, and the keys of induction heads in layer 1 read it.",
        ),
        PairExample(
            "Repetition",
            "The old woman saw a dog. The old woman saw a",
            "The old woman saw a man. The old woman saw a",
            "dog",
            "man",
            note="gpt-classroom can do this: of 156 pairs of words it prefers the word it has read "
            "in 150. It is the likeliest next token in 84.",
        ),
        PairExample(
            "Indirect object",
            "Then Mary and John went to the shop. John gave a book to",
            "Then Mary and John went to the shop. Mary gave a book to",
            "Mary",
            "John",
            note="gpt-classroom cannot do this: of 72 pairs of names it prefers the right one in "
            "34, no better than chance. It never finds it likeliest. The map shows what moves the "
            "two names, not a mechanism for indirect objects.",
        ),
        PairExample(
            "Unequal lengths",
            "The old woman saw a dog. The old woman saw a",
            "The old woman saw a very big man. The old woman saw a",
            "dog",
            "man",
            note="The corrupted text has two more words. They have no partner, so nothing is put "
            "in there.",
        ),
    ),
    "encoder": (
        PairExample(
            "A gap to fill",
            "The king gave his daughter a golden ring. She put the [MASK] on.",
            "The king gave his daughter a golden dress. She put the [MASK] on.",
            "ring",
            "dress",
            note="bert-classroom finds “door” likeliest in both texts. The word that was read "
            "moves its logit, but not to the top.",
        ),
        PairExample(
            "Drank or climbed",
            "The cat drank the [MASK] and then it went to sleep.",
            "The cat climbed the [MASK] and then it went to sleep.",
            "milk",
            "tree",
            note="bert-classroom does not know what a cat drinks: “milk” is not among its first "
            "eight candidates. The verb changes the difference all the same.",
        ),
    ),
    "encoder-decoder": (
        PairExample(
            "Which adjective",
            "The cat is small.",
            "The cat is big.",
            "petit",
            "grand",
            target="Le chat est",
            note="t5-classroom translates both words. Heads of cross-attention carry the source, "
            "many of them a little.",
        ),
        PairExample(
            "Which colour",
            "The house is blue.",
            "The house is red.",
            "bleu",
            "rouge",
            target="La maison est",
            note="t5-classroom translates both colours, in the wrong gender.",
        ),
    ),
}
