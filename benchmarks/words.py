"""Tokenizer for texts that are words and their numbers: "word7 word0"."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

__all__ = ["BEGIN", "FIRST", "save_tokenizer"]

BEGIN = 0  # the id of the begin token
FIRST = 2  # the id of word0


def save_tokenizer(folder: Path, words: int, tokens: int) -> None:
    """Return a tokenizer with `words` words, for a model with room for `tokens`."""
    known = {"<s>": BEGIN, "<unk>": 1, **{f"word{one}": one + FIRST for one in range(words)}}
    tokenizer = Tokenizer(WordLevel(known, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>", model_max_length=tokens
    ).save_pretrained(folder)
