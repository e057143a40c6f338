"""Words of a text: which neighbouring tokens are pieces of one word."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Int
from transformers import PreTrainedTokenizerBase

from attnviz.models.tokenizers.token_labels import WORD_STARTS, printable
from attnviz.models.tokenizers.tokenizer_errors import tokenizing
from attnviz.types import Tokens, Words

__all__ = ["single_words", "words"]

CONTINUES = "##"
"""How WordPiece vocabularies write a piece that continues a word."""

IDEOGRAPHS = ("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "HIRAGANA", "KATAKANA")
"""Beginnings of the Unicode names of characters that stand for a word without spaces."""


def words(tokenizer: PreTrainedTokenizerBase | None, tokens: Tokens) -> Words:
    """Return the words of a text that a model has read.

    A special token is one word. Between special tokens, words begin

    1. where the tokenizer begins one: its word ids, where it has a fast version and reads the
       decoded text into the same tokens again;
    2. otherwise, and in addition where the vocabulary marks the beginning of a word (`Ġ`, `▁`), at
       such a mark; in a WordPiece vocabulary at every piece without `##`;
    3. between a piece of punctuation or of line breaks and tabs, and any other piece;
    4. before and after a Chinese or Japanese character. A token of several characters stays whole.

    Without a tokenizer every token is a word.
    """
    if tokenizer is None:
        return single_words(tokens)
    starts = np.ones(len(tokens), bool)
    with tokenizing("this model"):
        for stretch in _stretches(tokens):
            starts[stretch] = _starts(tokenizer, [int(one) for one in tokens.ids[stretch]])
        edges = np.append(np.flatnonzero(starts), len(tokens))
        labels = tuple(
            _label(tokenizer, tokens, slice(int(first), int(end))) for first, end in pairwise(edges)
        )
    segments = None if tokens.segments is None else tokens.segments[edges[:-1]]
    firsts = Tokens(tokens.ids[edges[:-1]], labels, tokens.special[edges[:-1]], segments)
    return Words(edges, firsts)


def single_words(tokens: Tokens) -> Words:
    """Return words that have one token each."""
    return Words(np.arange(len(tokens) + 1), tokens)


def _stretches(tokens: Tokens) -> list[slice]:
    """Return the longest stretches without a special token and within one segment."""
    segments = np.zeros(len(tokens), int) if tokens.segments is None else tokens.segments
    group = np.where(tokens.special, -1, segments)
    cuts = np.flatnonzero(np.diff(group)) + 1
    bounds = [0, *cuts.tolist(), len(tokens)]
    return [slice(a, b) for a, b in pairwise(bounds) if a < b and not tokens.special[a]]


def _starts(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> Bool[np.ndarray, " token"]:
    """Return which tokens of a stretch begin a word."""
    pieces = [str(one) for one in tokenizer.convert_ids_to_tokens(list(ids))]
    starts = np.array([piece[:1] in (*WORD_STARTS, " ") for piece in pieces])
    known = 0
    if getattr(tokenizer, "is_fast", False):
        begins = _begins_by_tokenizer(tokenizer, ids)
        known = len(begins)
        starts[:known] |= begins
    if known < len(ids) and any(piece.startswith(CONTINUES) for piece in pieces):
        starts[known:] |= [not piece.startswith(CONTINUES) for piece in pieces[known:]]
    texts = {one: str(tokenizer.decode([one], clean_up_tokenization_spaces=False)) for one in ids}
    classes = [_class(texts[one], piece) for one, piece in zip(ids, pieces, strict=True)]
    for at, (before, after) in enumerate(pairwise(classes), 1):
        starts[at] |= before not in (None, after)
    starts[0] = True
    return starts


def _begins_by_tokenizer(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]
) -> Bool[np.ndarray, " token"]:
    """Return which tokens begin a word, of as many as the tokenizer reads the text into again."""
    text = tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
    again = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    equal = 0
    for one, other in zip(ids, again["input_ids"], strict=False):
        if one != other:
            break
        equal += 1
    numbers, spans = again.word_ids(0)[:equal], again["offset_mapping"][:equal]
    begins = np.ones(equal, bool)
    for at in range(1, equal):
        (first, end), (start, stop) = spans[at - 1], spans[at]
        before, after = text[first:end].strip(), text[start:stop].strip()
        new = start >= end and before and (_ideograph(before[-1:]) or _ideograph(after[:1]))
        begins[at] = bool(new) or numbers[at] != numbers[at - 1]
    return begins


def _ideograph(character: str) -> bool:
    return bool(character) and unicodedata.name(character, "").startswith(IDEOGRAPHS)


def _class(text: str, piece: str) -> str | None:
    """Return "blank" for line breaks and tabs, "mark" for punctuation, "letters" for the rest.

    None for a space that is a token: it belongs to what follows.
    """
    shown = text.strip(" ")
    if piece in WORD_STARTS or (text and not shown):
        return None
    if text.isspace():
        return "blank"
    if shown and all(unicodedata.category(one).startswith("P") for one in shown):
        return "mark"
    return "letters"


def _label(tokenizer: PreTrainedTokenizerBase, tokens: Tokens, stretch: slice) -> str:
    """Return the text of a word without the space before it; a single token keeps its label."""
    labels = tokens.labels[stretch]
    if len(labels) == 1:
        return labels[0].removeprefix("·") or labels[0]
    ids: Int[np.ndarray, " token"] = tokens.ids[stretch]
    text = str(tokenizer.decode(ids.tolist(), clean_up_tokenization_spaces=False)).strip(" ")
    if not text or "\ufffd" in text:
        return "".join(labels).removeprefix("·")
    return printable(text.removeprefix(CONTINUES))
