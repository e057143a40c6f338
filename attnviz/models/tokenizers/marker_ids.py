"""Tokens that stand for no piece of a text: begin, end, separators, padding, gaps."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

__all__ = ["marker_ids"]


def marker_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the ids of special tokens that stand for no piece of a text.

    The token for unknown pieces (`[UNK]`) is special to the library, but stands for a word that the
    reader has typed. It is left out here, unless it has another role as well, as `<|endoftext|>`
    has in GPT-2.
    """
    markers = set(tokenizer.all_special_ids)
    unknown = tokenizer.unk_token_id
    roles = ("bos", "eos", "sep", "cls", "pad", "mask")
    if unknown not in {getattr(tokenizer, f"{role}_token_id", None) for role in roles}:
        markers.discard(unknown)
    return frozenset(markers)
