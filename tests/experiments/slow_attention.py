"""Slow attention of the library's own models: loops in Python over heads, queries and keys."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

__all__ = ["Row", "slow_encoder_decoder", "slow_model"]

Row = Callable[[int, int, int, Tensor], Tensor]
"""Weights of a row: layer, head, query and the scores of all keys, float64, come in."""

Change = Callable[[int, int, Tensor], Tensor]
"""Output of a head, [query, value_dim]: layer, head and the output come in."""

NAME = "slow_loops"


@contextmanager
def slow_model(
    network: PreTrainedModel, row: Row, change: Change = lambda layer, head, output: output
) -> Iterator[PreTrainedModel]:
    """Yield a copy of a decoder or encoder whose rows of weights come from a function.

    The library passes no mask to this attention: `row` hides the keys.
    """
    copied = copy.deepcopy(network)
    with_layers = (one for one in copied.modules() if hasattr(one, "layer_idx"))
    named = [one for one in with_layers if hasattr(one, "scaling") or hasattr(one, "is_causal")]
    with _slow(copied, {id(one): (int(one.layer_idx),) for one in named}, row, change):
        yield copied


@contextmanager
def slow_encoder_decoder(
    network: PreTrainedModel, row: Callable[..., Tensor], change: Callable[..., Tensor]
) -> Iterator[PreTrainedModel]:
    """Yield a copy of a T5 as `slow_model` does; both functions get the kind before the layer."""
    copied = copy.deepcopy(network)
    places: dict[int, tuple[Any, ...]] = {}
    for layer, block in enumerate(copied.encoder.block):
        places[id(block.layer[0].SelfAttention)] = ("encoder", layer)
    for layer, block in enumerate(copied.decoder.block):
        places[id(block.layer[0].SelfAttention)] = ("decoder", layer)
        places[id(block.layer[1].EncDecAttention)] = ("cross", layer)
    with _slow(copied, places, row, change):
        yield copied


@contextmanager
def _slow(
    network: PreTrainedModel,
    places: dict[int, tuple[Any, ...]],
    row: Callable[..., Tensor],
    change: Callable[..., Tensor],
) -> Iterator[None]:
    """Run the attention of a model in loops; `places` names each module by its id."""

    def attention(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        position_bias: Tensor | None = None,
        **others: Any,
    ) -> tuple[Tensor, None]:
        _, heads, queries, dim = query.shape
        group = heads // key.shape[1]
        place = places[id(module)]
        output = torch.zeros(1, queries, heads, value.shape[-1], dtype=torch.float64)
        for head in range(heads):
            for at in range(queries):
                scores = key[0, head // group].double() @ query[0, head, at].double()
                scores = scores * (dim**-0.5 if scaling is None else scaling)
                if position_bias is not None:
                    scores = scores + position_bias[0, head, at].double()
                weights = row(*place, head, at, scores)
                for key_at, weight in enumerate(weights.tolist()):
                    output[0, at, head] += weight * value[0, head // group, key_at].double()
        for head in range(heads):
            output[0, :, head] = change(*place, head, output[0, :, head])
        return output.to(value), None

    AttentionInterface.register(NAME, attention)
    network.set_attn_implementation(NAME)
    try:
        yield
    finally:
        AttentionInterface()._global_mapping.pop(NAME, None)
