"""Tokens as a person can read them: a label for every id, whatever bytes it stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from attnviz.characters import escaped, is_hidden
from attnviz.models.tokenizers.marker_ids import marker_ids
from attnviz.models.tokenizers.tokenizer_errors import tokenizing
from attnviz.types import Tokens

__all__ = ["labels", "printable", "tokens"]

BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")  # how Unigram vocabularies write a byte
BYTES = {chr(value): value for value in range(256)}
BYTES |= {letter: value for value, letter in bytes_to_unicode().items()}
"""Byte by letter: ByT5 has the character of that number, GPT-2 moves the unprintable ones."""

WORD_STARTS = ("Ġ", "▁")  # how byte-level and Unigram vocabularies write "a space comes first"
NAMED = {"\n": "↵", "\t": "⇥", "\r": "␍", " ": "·", "\u00a0": "⍽", "\u200b": "∅"}


def printable(text: str) -> str:
    """Return a text with invisible characters shown: `·` for a space, `↵` for a line break.

    Control characters and direction marks become their code points, so that no label can hide or
    turn its neighbours around.
    """
    shown = []
    for character in text:
        if character in NAMED:
            shown.append(NAMED[character])
        elif is_hidden(character):
            # A joiner inside an emoji is part of the picture; alone it is nothing one could see.
            joins = character in "\u200d\ufe0f" and len(text) > 1
            shown.append(character if joins else escaped(character))
        else:
            shown.append(character)
    return "".join(shown) or "∅"


def labels(tokenizer: PreTrainedTokenizerBase | None, ids: Sequence[int]) -> tuple[str, ...]:
    """Return one label per id: the token's text, with a leading space as `·`.

    Bytes that are no character by themselves are shown as `<0xC3>`: an emoji takes several, a byte
    model (ByT5) reads nothing else. Without a tokenizer the labels are the ids.
    """
    if tokenizer is None:
        return tuple(f"⟨id {number}⟩" for number in ids)
    with tokenizing("this model"):
        pieces = tokenizer.convert_ids_to_tokens(list(ids))
        return tuple(
            _label(tokenizer, number, piece) for number, piece in zip(ids, pieces, strict=True)
        )


def _label(tokenizer: PreTrainedTokenizerBase, number: int, piece: str | None) -> str:
    if piece is None:
        return f"⟨id {number}⟩"
    if number in tokenizer.all_special_ids or piece.startswith("##"):
        return printable(piece)
    text: str = tokenizer.decode([number], clean_up_tokenization_spaces=False)
    if "\ufffd" in text or (not text and piece not in WORD_STARTS):
        return _broken(piece)
    if piece[:1] in WORD_STARTS and not text.startswith(" "):
        text = " " + text  # decoders drop the space before a text's first word
    return printable(text)


def _broken(piece: str) -> str:
    """Return the label of a piece that is no text by itself, its bytes as `<0xC3>`.

    The piece of a byte vocabulary has one letter per byte; where it has other letters, the whole
    vocabulary entry is shown in angle brackets.
    """
    if BYTE_PIECE.fullmatch(piece):
        return piece
    if not all(letter in BYTES for letter in piece):
        return f"⟨{printable(piece)}⟩"
    values = [BYTES[letter] for letter in piece]
    return "".join(
        printable(chr(value)) if 0x20 <= value < 0x7F else f"<0x{value:02X}>" for value in values
    )


def tokens(
    tokenizer: PreTrainedTokenizerBase | None,
    ids: Sequence[int],
    segments: Sequence[int] | None = None,
) -> Tokens:
    """Return the tokens of one text with labels for an axis."""
    special = frozenset() if tokenizer is None else marker_ids(tokenizer)
    return Tokens(
        ids=np.asarray(ids, dtype=np.int64),
        labels=labels(tokenizer, ids),
        special=np.asarray([number in special for number in ids], dtype=bool),
        segments=None if segments is None else np.asarray(segments, dtype=np.int64),
    )
