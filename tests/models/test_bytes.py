"""Bytes that are no character by themselves: their labels in every kind of vocabulary."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

import attnviz
from attnviz.models import labels
from tests.models.small import network
from tests.vocabularies import vocabulary


def test_a_byte_model_shows_its_bytes(tmp_path: Path) -> None:
    byte_model = network("T5ForConditionalGeneration", "T5", vocab_size=384)
    byte_model.save_pretrained(tmp_path)
    ByT5Tokenizer().save_pretrained(tmp_path)
    model = attnviz.load(str(tmp_path))
    capture = attnviz.capture(model, "naïve 日", target="é")
    shown = capture["encoder"].query_tokens.labels
    assert shown == (
        *("n", "a", "<0xC3>", "<0xAF>", "v", "e", "·"),
        *("<0xE6>", "<0x97>", "<0xA5>", "</s>"),
    )


@pytest.mark.parametrize("text", ["日本", "naïve", "🙂", "é\u0301"])
def test_every_byte_of_a_byte_model_has_a_label(text: str) -> None:
    tokenizer = ByT5Tokenizer()
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert [label for label in labels(tokenizer, ids) if label.startswith("<0x")] == [
        f"<0x{byte:02X}>" for byte in text.encode() if byte >= 0x80
    ]


def test_parts_of_a_character_in_a_byte_level_vocabulary() -> None:
    tokenizer = vocabulary("bpe")
    ids = tokenizer("日", add_special_tokens=False).input_ids
    assert labels(tokenizer, ids) == ("<0xE6>", "<0x97>", "<0xA5>")


def test_bytes_in_a_vocabulary_of_pieces() -> None:
    """Unigram and BPE vocabularies write a byte that they fall back on as `<0xE6>`."""
    pieces = {"<unk>": 0, **{f"<0x{byte:02X}>": byte + 1 for byte in range(256)}}
    backend = Tokenizer(models.BPE(vocab=pieces, merges=[], unk_token="<unk>", byte_fallback=True))
    backend.decoder = decoders.ByteFallback()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    assert labels(tokenizer, tokenizer("日").input_ids) == ("<0xE6>", "<0x97>", "<0xA5>")
