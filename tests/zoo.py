"""Small random models of many architectures: attnviz's and, beside it, the library's own eager one.

To add an architecture, add a line to `ARCHITECTURES`, or to `OTHER_SENSES` when it reads pictures
or sounds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSpeechSeq2Seq,
    PreTrainedModel,
)

import attnviz
from attnviz import Model
from attnviz.attention import AttentionStack
from attnviz.captures.forward_pass import Encoded
from attnviz.types import Family, Kind
from benchmarks.small_models import shake
from tests.vocabularies import LIMIT, vocabulary

AUTO: dict[Family, Any] = {
    "encoder": AutoModelForMaskedLM,
    "decoder": AutoModelForCausalLM,
    "encoder-decoder": AutoModelForSeq2SeqLM,
}
FIRST_WORD = 5  # ids below are special in some vocabulary


@dataclass(frozen=True)
class Architecture:
    """Architecture to build: the library's name, the family, and the sizes."""

    model_type: str
    family: Family
    sizes: dict[str, Any] = field(default_factory=dict)
    auto: Any = None


BODY = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "hidden_act": "gelu"}
BODY |= {"intermediate_size": 48, "max_position_embeddings": LIMIT}
GPT2 = {"n_embd": 32, "n_head": 4, "n_layer": 3, "n_positions": LIMIT}
ROBERTA = BODY | {"max_position_embeddings": LIMIT + 1}  # counts from behind the padding id
DISTIL = {"dim": 32, "n_heads": 4, "n_layers": 3, "hidden_dim": 48}
DISTIL |= {"max_position_embeddings": LIMIT}
SMALL_EMBEDDING = BODY | {"embedding_size": 16}
OPT = BODY | {"ffn_dim": 48, "word_embed_proj_dim": 32}
GROUPED = BODY | {"num_key_value_heads": 2, "hidden_act": "silu"}
WINDOWS = GROUPED | {"num_hidden_layers": 4, "head_dim": 8, "sliding_window": 5}
WINDOWS |= {"layer_types": ["sliding_attention", "full_attention"] * 2}
EXPERTS = {"num_local_experts": 2, "num_experts_per_tok": 1}
LATENT = GROUPED | {"num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16}
LATENT |= {"qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 12}
LATENT |= {"n_routed_experts": 4, "n_group": 1, "topk_group": 1, "num_experts_per_tok": 2}
T5 = {"d_model": 32, "d_kv": 6, "d_ff": 48, "num_layers": 2, "num_heads": 4}
T5 |= {"num_decoder_layers": 3, "decoder_start_token_id": 0}
BART = {"d_model": 32, "max_position_embeddings": LIMIT, "decoder_start_token_id": 0}
BART |= {"encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 48}
BART |= {"decoder_layers": 3, "decoder_attention_heads": 4, "decoder_ffn_dim": 48}

HYBRID = GROUPED | {"num_hidden_layers": 7, "attn_layer_period": 3, "attn_layer_offset": 1}
HYBRID |= {"expert_layer_period": 2, "num_experts": 2, "num_experts_per_tok": 1}
HYBRID |= {"mamba_d_state": 4, "mamba_expand": 2, "mamba_dt_rank": 4}
PICTURE = BODY | {"image_size": [12, 20], "patch_size": 4}
DISTILLED = PICTURE | {"architectures": ["DeiTForImageClassification"]}  # one of two classifiers
TOWERS: dict[str, Any] = {"text_config": BODY, "projection_dim": 16}
TOWERS |= {"vision_config": BODY | {"num_hidden_layers": 2, "image_size": 12, "patch_size": 4}}
WHISPER = BART | {"num_mel_bins": 8, "max_source_positions": 30, "max_target_positions": LIMIT}
WHISPER |= {"suppress_tokens": None, "begin_suppress_tokens": None}

ARCHITECTURES: dict[str, Architecture] = {
    # encoders
    "bert": Architecture("bert", "encoder", BODY),
    "roberta": Architecture("roberta", "encoder", ROBERTA),
    "xlm-roberta": Architecture("xlm-roberta", "encoder", ROBERTA),
    "camembert": Architecture("camembert", "encoder", ROBERTA),
    "distilbert": Architecture("distilbert", "encoder", DISTIL),
    "albert": Architecture("albert", "encoder", SMALL_EMBEDDING),
    "electra": Architecture("electra", "encoder", SMALL_EMBEDDING),
    "modernbert": Architecture(
        "modernbert", "encoder", BODY | {"local_attention": 8, "global_attn_every_n_layers": 2}
    ),
    # decoders
    "gpt2": Architecture("gpt2", "decoder", GPT2),
    "gpt2-scaled-by-layer": Architecture(
        "gpt2", "decoder", GPT2 | {"scale_attn_by_inverse_layer_idx": True}
    ),
    "gpt_bigcode": Architecture("gpt_bigcode", "decoder", GPT2 | {"multi_query": True}),
    "gpt_neox": Architecture("gpt_neox", "decoder", BODY),
    "opt": Architecture("opt", "decoder", OPT),
    "llama": Architecture("llama", "decoder", GROUPED),
    "llama-one-key-head": Architecture("llama", "decoder", GROUPED | {"num_key_value_heads": 1}),
    "mistral": Architecture("mistral", "decoder", GROUPED | {"sliding_window": 5}),
    "mixtral": Architecture("mixtral", "decoder", GROUPED | EXPERTS),
    "qwen2": Architecture("qwen2", "decoder", GROUPED),
    "qwen3": Architecture("qwen3", "decoder", GROUPED | {"head_dim": 8}),
    "gemma2": Architecture(
        "gemma2",
        "decoder",
        WINDOWS | {"attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 8},
    ),
    "gemma3": Architecture("gemma3_text", "decoder", WINDOWS | {"query_pre_attn_scalar": 8}),
    "gpt_oss": Architecture("gpt_oss", "decoder", WINDOWS | EXPERTS),
    "phi3": Architecture("phi3", "decoder", GROUPED),
    "olmo2": Architecture("olmo2", "decoder", GROUPED),
    "granite": Architecture("granite", "decoder", GROUPED | {"attention_multiplier": 0.3}),
    "cohere2": Architecture("cohere2", "decoder", WINDOWS),
    "stablelm": Architecture("stablelm", "decoder", GROUPED),
    "deepseek_v3": Architecture("deepseek_v3", "decoder", LATENT),
    "jamba": Architecture("jamba", "decoder", HYBRID),
    # encoder-decoders
    "t5": Architecture("t5", "encoder-decoder", T5),
    "mt5": Architecture("mt5", "encoder-decoder", T5),
    "umt5": Architecture("umt5", "encoder-decoder", T5),
    "bart": Architecture("bart", "encoder-decoder", BART),
    "pegasus": Architecture("pegasus", "encoder-decoder", BART),
    "marian": Architecture("marian", "encoder-decoder", BART),
}

OTHER_SENSES: dict[str, Architecture] = {
    "vit": Architecture("vit", "encoder", PICTURE, AutoModelForImageClassification),
    "vit-body": Architecture("vit", "encoder", PICTURE, AutoModel),
    "deit": Architecture("deit", "encoder", DISTILLED, AutoModelForImageClassification),
    "clip": Architecture("clip", "encoder", TOWERS, AutoModel),
    "siglip": Architecture("siglip", "encoder", TOWERS, AutoModel),
    "whisper": Architecture("whisper", "encoder-decoder", WHISPER, AutoModelForSpeechSeq2Seq),
}
EVERYTHING = ARCHITECTURES | OTHER_SENSES

VOCABULARIES = {"encoder": "wordpiece", "decoder": "bpe", "encoder-decoder": "unigram"}


@dataclass(frozen=True)
class Pair:
    """Pair of models on equal weights: instrumented by attnviz, and eager in the library."""

    model: Model
    eager: PreTrainedModel
    folder: Path


def make_pair(name: str, folder: Path, **more: Any) -> Pair:
    """Build a model, save it, load it by attnviz and by the library; `more` are further sizes."""
    what = EVERYTHING[name]
    auto = what.auto or AUTO[what.family]
    tokenizer = vocabulary("bpe" if "text_config" in what.sizes else VOCABULARIES[what.family])
    words = {
        f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("pad", "bos", "eos")
    }
    words["vocab_size"] = len(tokenizer)
    if "text_config" in what.sizes:
        sizes = what.sizes | {"text_config": words | what.sizes["text_config"]}
    else:
        sizes = words | what.sizes | more
    torch.manual_seed(0)  # the same weights, whichever tests ran before
    network = auto.from_config(AutoConfig.for_model(what.model_type, **sizes))
    shake(network)
    network.save_pretrained(folder)
    if what.auto is None or "image_size" not in what.sizes:
        tokenizer.save_pretrained(folder)
    eager = auto.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    return Pair(attnviz.load(str(folder)), eager.eval(), folder)


def random_ids(model: Model, length: int, seed: int = 0) -> tuple[int, ...]:
    """Words, no special tokens, drawn at random."""
    generator = torch.Generator().manual_seed(1000 * seed + length)
    config = model.network.config
    size = min(len(model.tokenizer), getattr(config, "text_config", config).vocab_size)
    return tuple(torch.randint(FIRST_WORD, size, (length,), generator=generator).tolist())


def random_features(model: Model, seed: int = 0) -> dict[str, Tensor]:
    """Noise of the size that the model reads; nothing for a model of texts."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) for name, shape in model.sites.sizes.items()
    }


def random_texts(model: Model, lengths: tuple[int, ...], seed: int = 0) -> list[Encoded]:
    """Random ids of these lengths, with targets of other lengths where the model has a decoder.

    Pictures and sounds are all of one size, another one for each text.
    """
    both = model.info.family == "encoder-decoder"
    reads = "input_ids" in model.sites.reads
    return [
        Encoded(
            random_ids(model, length, seed) if reads else (),
            target=(0, *random_ids(model, length // 2, seed + 1)) if both else None,
            features=random_features(model, 10 * seed + number),
        )
        for number, length in enumerate(lengths)
    ]


def inputs_of(model: Model, texts: list[Encoded]) -> dict[str, Tensor]:
    """Return a padded batch, made without attnviz."""

    def padded(rows: list[tuple[int, ...]], name: str, mask: str) -> dict[str, Tensor]:
        ids = torch.full((len(rows), max(map(len, rows))), model.tokenizer.pad_token_id)
        real = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            real[number, : len(row)] = 1
        return {name: ids, mask: real}

    inputs = {
        name: torch.stack([one.features[name] for one in texts]) for name in texts[0].features
    }
    if any(one.ids for one in texts):
        inputs |= padded([one.ids for one in texts], "input_ids", "attention_mask")
    if model.info.family == "encoder-decoder":
        targets = [one.target or () for one in texts]
        inputs |= padded(targets, "decoder_input_ids", "decoder_attention_mask")
    return inputs


def eager_attentions(eager: PreTrainedModel, **inputs: Tensor) -> dict[Kind, tuple[Tensor, ...]]:
    """Return the library's own weights per kind: a [batch, head, query, key] tensor per layer."""
    with torch.inference_mode():
        output = eager(**inputs, output_attentions=True)
    if eager.config.is_encoder_decoder:
        return {
            "encoder": output.encoder_attentions,
            "decoder": output.decoder_attentions,
            "cross": output.cross_attentions,
        }
    if "vision_model_output" in output:
        return {
            "image": output.vision_model_output.attentions,
            "text": output.text_model_output.attentions,
        }
    return {"self": output.attentions}


def all_weights(stack: AttentionStack) -> np.ndarray:
    """Return every weight of a stack, [layer, head, query, key]."""
    layers, heads, _, _ = stack.shape
    return np.stack(
        [[stack.weights(layer, head) for head in range(heads)] for layer in range(layers)]
    )
