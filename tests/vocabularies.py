"""Three small real tokenizers, trained on a few lines: WordPiece, byte-level BPE, Unigram."""

from __future__ import annotations

import copy
from functools import cache

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

LIMIT = 160  # tokens; the limit of the small models
TEXT = [
    "The cat sat on the mat. The cat sat on the hat, and the dog sat on the cat.",
    "When Mary and John went to the store, John gave a drink to Mary.",
    "A model reads one token after another; attention tells it where to look.",
    "Colourless green ideas sleep furiously, and nobody wakes them up again.",
    "How many roads must a man walk down before you call him a man?",
]
SENTENCES = ("The cat sat on the mat.", "Mary gave John a drink, and John gave it back to Mary.")


def wordpiece() -> PreTrainedTokenizerBase:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        TEXT, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=LIMIT,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def byte_bpe() -> PreTrainedTokenizerBase:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=["<|pad|>", "<|begin|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=LIMIT,
        pad_token="<|pad|>",
        bos_token="<|begin|>",
        eos_token="<|begin|>",
    )


def unigram() -> PreTrainedTokenizerBase:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=LIMIT,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
    )


MAKERS = {"wordpiece": wordpiece, "bpe": byte_bpe, "unigram": unigram}


def vocabulary(kind: str) -> PreTrainedTokenizerBase:
    """Return a tokenizer, "wordpiece", "bpe" or "unigram"; a test may add tokens to its copy."""
    return copy.deepcopy(_trained(kind))


@cache
def _trained(kind: str) -> PreTrainedTokenizerBase:
    return MAKERS[kind]()
