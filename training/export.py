"""Writing a trained model as the app ships it: 16-bit safetensors and a tokenizer, no pickle."""

import copy
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

LARGEST_BYTES = 20_000_000


def export(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Save weights, configuration and tokenizer; refuse a model too large to ship."""
    shipped = copy.deepcopy(model).to("cpu", dtype)
    shipped.save_pretrained(folder)
    tokenizer.backend_tokenizer.no_padding()  # what an evaluation has set is not to be shipped
    tokenizer.save_pretrained(folder)
    written = [path for path in folder.iterdir() if path.suffix in {".safetensors", ".json"}]
    size = sum(path.stat().st_size for path in written)
    if size > LARGEST_BYTES:
        raise ValueError(f"{folder} has {size} bytes; a shipped model has at most {LARGEST_BYTES}")
