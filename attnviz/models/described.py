"""What a model's configuration says of it: its family, what it reads, and how much."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSpeechSeq2Seq,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from attnviz.attention import Sites
from attnviz.errors import ModelNotSupported
from attnviz.types import Family

__all__ = ["family_of", "max_tokens", "other_layers", "reads_text"]

AUTO_CLASSES: dict[Family, Any] = {
    "encoder": AutoModelForMaskedLM,
    "decoder": AutoModelForCausalLM,
    "encoder-decoder": AutoModelForSeq2SeqLM,
}
UNBOUNDED = 10**6  # tokenizers without a limit say so with a huge number

# Parts of a layer's modules and classes, and what they are in words; the first that fits.
MIXERS = (
    ("mamba", "state space (Mamba)"),
    ("ssm", "state space"),
    ("delta", "linear attention"),
    ("lightning", "linear attention"),
    ("linearattention", "linear attention"),
    ("linear_attn", "linear attention"),
    ("recurrent", "recurrence"),
    ("conv", "convolution"),
    ("mlp", "feed-forward network only"),
    ("moe", "feed-forward network only"),
)


def family_of(config: PreTrainedConfig) -> tuple[Family, Any]:
    """What a configuration describes, and the class that loads it with its language head."""
    architecture = next(iter(config.architectures or ()), "")
    if type(config) in AutoModelForSpeechSeq2Seq._model_mapping:
        return ("encoder-decoder", AutoModelForSpeechSeq2Seq)
    if "ImageClassification" in architecture:
        return ("encoder", AutoModelForImageClassification)
    if config.is_encoder_decoder:
        family: Family = "encoder-decoder"
    elif "MaskedLM" in architecture or "PreTraining" in architecture:
        family = "encoder"
    elif "CausalLM" in architecture or "LMHead" in architecture:
        family = "decoder"
    else:
        # A body without a head (BertModel, GPT2Model), or a classifier on one.
        known = AutoModelForMaskedLM._model_mapping
        causal = AutoModelForCausalLM._model_mapping
        masked_only = type(config) in known and not getattr(config, "is_decoder", False)
        family = "encoder" if masked_only else "decoder"
        if type(config) not in known and type(config) not in causal:
            return ("encoder", AutoModel)
    auto_class = AUTO_CLASSES[family]
    if type(config) not in auto_class._model_mapping:
        raise ModelNotSupported(
            f"models of type '{config.model_type}' ({architecture or 'no architecture named'}) "
            "are not text models with attention that attnviz knows how to run"
        )
    return family, auto_class


def reads_text(auto_class: Any, config: PreTrainedConfig) -> bool:
    """Whether a model needs a tokenizer: all but those that read pictures and write nothing."""
    if config.is_encoder_decoder or type(config) not in auto_class._model_mapping:
        return True
    chosen = auto_class._model_mapping[type(config)]
    chosen = chosen[0] if isinstance(chosen, (list, tuple)) else chosen
    return str(chosen.main_input_name) != "pixel_values"


def max_tokens(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> int | None:
    """Tokens of text it was made for; None where neither it nor its tokenizer names a limit."""
    config = getattr(network.config, "text_config", None) or network.config
    limits = [] if tokenizer is None else [int(tokenizer.model_max_length)]
    names = ["max_position_embeddings", "max_target_positions"]
    if not config.is_encoder_decoder:  # T5 names n_positions, but its positions are relative
        names.append("n_positions")
    limits += [found for name in names if isinstance(found := getattr(config, name, None), int)]
    for name, module in network.named_modules():
        # RoBERTa and its kin count positions from behind the padding id: some rows are never used.
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - unused)
    sensible = [limit for limit in limits if 0 < limit < UNBOUNDED]
    return min(sensible) if sensible else None


def other_layers(network: PreTrainedModel, sites: Sites) -> Mapping[int, str]:
    """Return, per layer of a decoder without attention, its index and what it has instead.

    Empty for models with attention in every layer, and for those with several kinds of it.
    """
    stacks = {re.split(r"\.\d+(?:\.|$)", name, maxsplit=1)[0] for name in sites.names.values()}
    if len(sites.heads) != 1 or len(stacks) != 1:
        return {}
    (stack,) = stacks
    blocks = dict(network.named_modules()).get(stack)
    (own,) = sites.layers.values()
    if not isinstance(blocks, torch.nn.ModuleList) or not set(own) <= set(range(len(blocks))):
        return {}
    return {index: _mixer(block) for index, block in enumerate(blocks) if index not in own}


def _mixer(block: torch.nn.Module) -> str:
    """Return what a layer has in place of attention, in words."""
    parts = [f"{name} {type(part).__name__}".lower() for name, part in block.named_children()]
    found = (words for sign, words in MIXERS if any(sign in part for part in parts))
    return next(found, "something else")
