"""Description of a loaded model: family, configuration of each side, and limits."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from attnviz.attention import Sites, has_decoder
from attnviz.errors import InputError
from attnviz.types import Family, Kind

__all__ = [
    "Side",
    "family_of",
    "max_tokens",
    "other_layers",
    "segment_kinds",
    "side_config",
    "vocabulary_size",
]

Side = Literal["source", "target"]
"""The text that a model reads, or the text that the decoder of an encoder-decoder reads."""

UNBOUNDED = 10**6  # a tokenizer without a limit has a huge number in its place
KINDS: dict[Side, tuple[Kind, ...]] = {
    "source": ("self", "encoder", "text"),
    "target": ("decoder",),
}
NESTED: dict[Side, tuple[str, ...]] = {
    "source": ("text_config", "text_encoder", "encoder"),
    "target": ("text_config", "decoder"),
}
"""Names under which a configuration of several parts holds the one of its text."""

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


def family_of(network: PreTrainedModel, sites: Sites) -> Family:
    """Return the family of a model from its class and from the mask that it used.

    A model is an encoder-decoder if its forward pass takes the decoder's ids, a decoder if its
    class generates text or if no query may see a later key, and an encoder otherwise.
    """
    if has_decoder(network):
        return "encoder-decoder"
    return "decoder" if type(network).can_generate() or sites.causal else "encoder"


def side_config(config: PreTrainedConfig, side: Side = "source") -> PreTrainedConfig:
    """Return the configuration that describes one side's text, wherever it is nested."""
    for name in NESTED[side]:
        part = getattr(config, name, None)
        if isinstance(part, PreTrainedConfig):
            return side_config(part, side)
    return config


def vocabulary_size(network: PreTrainedModel, side: Side = "source") -> int:
    """Return the number of rows of the embedding that one side's ids are looked up in.

    Raises:
        InputError: that side has no embedding of token ids.
    """
    owners: list[Any] = [network]
    if side == "target" and has_decoder(network):
        owners.insert(0, network.get_decoder())
    owners.append(getattr(network, "text_model", None))  # two towers: the library names neither
    for owner in owners:
        try:
            return int(owner.get_input_embeddings().weight.shape[0])
        except (AttributeError, NotImplementedError):
            continue
    raise InputError(f"{type(network).__name__} has no embedding of token ids; give it no text")


def segment_kinds(network: PreTrainedModel) -> int:
    """Return how many segments (token_type_ids) a model tells apart; 0 if it reads none."""
    reads = "token_type_ids" in inspect.signature(type(network).forward).parameters
    return int(getattr(side_config(network.config), "type_vocab_size", 0) or 0) if reads else 0


def max_tokens(
    network: PreTrainedModel,
    sites: Sites,
    tokenizer: PreTrainedTokenizerBase | None,
    side: Side = "source",
) -> int | None:
    """Return the most tokens one side has positions for; None where nothing limits them."""
    limits = [] if tokenizer is None else [int(tokenizer.model_max_length)]
    config = side_config(network.config, side)
    for name in ("max_position_embeddings", "max_target_positions"):
        number = getattr(config, name, None)
        limits += [number] if isinstance(number, int) else []
    limits += _table_sizes(network, sites, side)
    sensible = [limit for limit in limits if 0 < limit < UNBOUNDED]
    return min(sensible) if sensible else None


def _table_sizes(network: PreTrainedModel, sites: Sites, side: Side) -> Iterator[int]:
    """Yield the usable rows of the tables of positions beside one side's attention."""
    attentions = [sites.names[key] for key, kind in sites.kinds.items() if kind in KINDS[side]]
    for name, module in network.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            holder = name.rpartition(".")[0]
            stack = holder.rpartition(".")[0] if holder.endswith("embeddings") else holder
            if any(f".{one}".startswith(f".{stack}." if stack else ".") for one in attentions):
                # RoBERTa counts positions from behind the padding id: some rows are never used.
                unused = 0 if module.padding_idx is None else module.padding_idx + 1
                yield module.num_embeddings - unused


def other_layers(network: PreTrainedModel, sites: Sites) -> Mapping[int, str]:
    """Return, per layer of a decoder without attention, its index and what it has instead.

    Empty for models with attention in every layer, and for those with several kinds of it.
    """
    stacks = {re.split(r"\.\d+(?:\.|$)", name, maxsplit=1)[0] for name in sites.names.values()}
    if len(sites.heads) != 1 or len(stacks) != 1:
        return {}
    (stack,) = stacks
    blocks = dict(network.named_modules()).get(stack)
    (numbers,) = sites.layers.values()
    if not isinstance(blocks, torch.nn.ModuleList) or not set(numbers) <= set(range(len(blocks))):
        return {}
    return {index: _mixer(block) for index, block in enumerate(blocks) if index not in numbers}


def _mixer(block: torch.nn.Module) -> str:
    """Return what a layer has in place of attention, in words."""
    parts = [f"{name} {type(part).__name__}".lower() for name, part in block.named_children()]
    named = (words for sign, words in MIXERS if any(sign in part for part in parts))
    return next(named, "something else")
