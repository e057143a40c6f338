"""Word embeddings of the classroom GPT, with which later models begin."""

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedTokenizerFast

import attnviz

FOLDER = Path(attnviz.__file__).parent / "models" / "classroom" / "gpt-classroom"


def shared_tokenizer(length: int) -> PreTrainedTokenizerFast:
    """Return the tokenizer of the classroom GPT for texts of at most `length` tokens."""
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(FOLDER)
    tokenizer.model_max_length = length
    return tokenizer


def word_vectors() -> Tensor:
    """Return the trained embeddings of the classroom GPT in 32 bits, [token, number]."""
    with safe_open(FOLDER / "model.safetensors", "pt") as weights:
        vectors: Tensor = weights.get_tensor("transformer.wte.weight")
    return vectors.to(torch.float32)
