"""What a model's configuration says of it: its family, what it reads, and how much."""

from __future__ import annotations

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

from attnviz.errors import ModelNotSupported
from attnviz.types import Family

__all__ = ["family_of", "max_tokens", "reads_text"]

AUTO_CLASSES: dict[Family, Any] = {
    "encoder": AutoModelForMaskedLM,
    "decoder": AutoModelForCausalLM,
    "encoder-decoder": AutoModelForSeq2SeqLM,
}
UNBOUNDED = 10**6  # tokenizers without a limit say so with a huge number


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
