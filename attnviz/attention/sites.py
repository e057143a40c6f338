"""Where a model's attentions are and which kind each is: found by watching it run once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from attnviz.attention.interface import NAME
from attnviz.attention.recorder import Call, listening
from attnviz.errors import ModelNotSupported
from attnviz.types import Kind

__all__ = ["Sites", "find_sites"]

ENCODER_TOKENS, DECODER_TOKENS = 5, 3
"""Lengths of the probe: different, so that the shape of a call tells encoder from decoder from
cross attention, whatever the model's authors called their modules."""


@dataclass(frozen=True)
class Sites:
    """The attention modules of one model.

    Attributes:
        kinds: kind by `id` of the module.
        names: module name by `id` of the module.
        heads: (layers, query heads) per kind, in the order in which the model runs them.
        key_heads: key/value heads per kind.
    """

    kinds: Mapping[int, Kind]
    names: Mapping[int, str]
    heads: Mapping[Kind, tuple[int, int]]
    key_heads: Mapping[Kind, int]


@dataclass
class _Watcher:
    """Notes every call: who, how many heads, how many queries and keys."""

    calls: list[tuple[nn.Module, int, int, int, int]] = field(default_factory=list)

    def begin(self, call: Call) -> None:
        heads, queries = call.query.shape[1:3]
        key_heads, keys = call.key.shape[1:3]
        self.calls.append((call.module, heads, key_heads, queries, keys))

    def end(self, call: Call, observer: Any) -> None:
        """Nothing is kept of the numbers."""


def _kind(encoder_decoder: bool, queries: int, keys: int) -> Kind:
    if not encoder_decoder:
        return "self"
    if queries == keys:
        return "encoder" if queries == ENCODER_TOKENS else "decoder"
    return "cross"


def _reason(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")[:200] or type(error).__name__


def find_sites(model: PreTrainedModel, run: Callable[..., Any] | None = None) -> Sites:
    """Switch a model to the instrumented attention and see which modules come through it.

    Args:
        model: on any device; its implementation is set to ours.
        run: runs the model on probe ids; by default with `input_ids` (and `decoder_input_ids`).

    Raises:
        ModelNotSupported: none of its layers asked for the attention we registered.
    """
    model_type = model.config.model_type
    refusal = ModelNotSupported(
        f"models of type '{model_type}' ({type(model).__name__}) do not take their attention from "
        "the library's attention interface, so attnviz cannot see it. Supported are BERT, GPT-2, "
        "T5 and their relatives (RoBERTa, DistilBERT, ELECTRA, ModernBERT, GPT-NeoX, OPT, Llama, "
        "Mistral, Qwen, Gemma, BART, mT5 and others)."
    )
    if not type(model)._can_set_attn_implementation():
        raise refusal
    try:
        model.set_attn_implementation(NAME)
    except (ValueError, KeyError) as error:
        raise refusal from error
    encoder_decoder = bool(model.config.is_encoder_decoder)
    watcher = _Watcher()
    with torch.inference_mode(), listening(watcher):
        if run is not None:
            run()
        else:
            probe = torch.zeros(1, ENCODER_TOKENS, dtype=torch.long, device=model.device) + 4
            inputs = {"input_ids": probe, "attention_mask": torch.ones_like(probe)}
            if encoder_decoder:
                inputs["decoder_input_ids"] = probe[:, :DECODER_TOKENS]
            try:
                model(**inputs)
            except Exception as error:
                # A model of pictures or sounds stumbles over token ids in a way of its own.
                raise ModelNotSupported(
                    f"models of type '{model_type}' ({type(model).__name__}) do not read token "
                    f"ids, or not these alone: {_reason(error)}"
                ) from error
    if not watcher.calls:
        raise refusal
    names = {id(module): name for name, module in model.named_modules()}
    kinds: dict[int, Kind] = {}
    heads: dict[Kind, tuple[int, int]] = {}
    key_heads: dict[Kind, int] = {}
    for module, n_heads, n_key_heads, queries, keys in watcher.calls:
        kind = _kind(encoder_decoder, queries, keys)
        layers, known = heads.get(kind, (0, n_heads))
        if known != n_heads:
            raise ModelNotSupported(
                f"'{model_type}' has layers with {known} and with {n_heads} heads; attnviz shows "
                "models whose layers all have the same number of heads"
            )
        kinds[id(module)] = kind
        heads[kind] = (layers + 1, n_heads)
        key_heads[kind] = n_key_heads
    return Sites(kinds, {key: names[key] for key in kinds}, heads, key_heads)
