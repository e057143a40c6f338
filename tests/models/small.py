"""Small models of named classes, saved with a tokenizer of their family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tests.vocabularies import vocabulary
from tests.zoo import shake

BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
BERT |= {"intermediate_size": 48, "max_position_embeddings": 160}
DISTIL = {"dim": 32, "n_heads": 4, "n_layers": 2, "hidden_dim": 48, "max_position_embeddings": 160}
GPT2 = {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 160}
LLAMA = BERT | {"num_key_value_heads": 2, "hidden_act": "silu"}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
T5 |= {"decoder_start_token_id": 0}
BART = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "decoder_start_token_id": 1}
BART |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48}
BART |= {"decoder_ffn_dim": 48, "max_position_embeddings": 160}
SIZES = {"Bert": BERT, "Roberta": BERT | {"max_position_embeddings": 161}, "DistilBert": DISTIL}
SIZES |= {"GPT2": GPT2, "Llama": LLAMA, "T5": T5, "MT5": T5, "UMT5": T5, "Bart": BART}
SIZES |= {"Electra": BERT | {"embedding_size": 16}, "OPT": BERT | {"ffn_dim": 48}}
WORDS = {"GPT2": "bpe", "Llama": "bpe", "OPT": "bpe"}
WORDS |= {"T5": "unigram", "MT5": "unigram", "UMT5": "unigram", "Bart": "unigram"}


def ids_of(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return the special ids and the size of a vocabulary, as a configuration has them."""
    roles = {
        f"{one}_token_id": getattr(tokenizer, f"{one}_token_id") for one in ("pad", "bos", "eos")
    }
    return roles | {"vocab_size": len(tokenizer)}


def network(kind: str, family: str, **changes: Any) -> PreTrainedModel:
    """Return a random model of the class `kind`, with far from uniform attention."""
    torch.manual_seed(0)
    tokenizer = vocabulary(WORDS.get(family, "wordpiece"))
    model_class = getattr(transformers, kind)
    built: PreTrainedModel = model_class(
        model_class.config_class(**ids_of(tokenizer) | SIZES[family] | changes)
    )
    shake(built)
    return built


def saved(folder: Path, kind: str, family: str, **changes: Any) -> str:
    """Return the folder of such a model and its tokenizer."""
    network(kind, family, **changes).save_pretrained(folder)
    vocabulary(WORDS.get(family, "wordpiece")).save_pretrained(folder)
    return str(folder)


def edit(folder: str | Path, file: str = "config.json", **changes: Any) -> None:
    """Change entries of a JSON file; None takes an entry out."""
    path = Path(folder) / file
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {key: value for key, value in content.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def eager_run(kind: str, folder: str, **inputs: Tensor) -> Any:
    """Run a folder eagerly by the library, as a class, with the weights of every layer."""
    model_class = getattr(transformers, kind)
    model = model_class.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    ).eval()
    with torch.inference_mode():
        return model(**inputs, output_attentions=True)
