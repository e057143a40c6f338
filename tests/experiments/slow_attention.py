"""Slow attention of the library's own models: loops in Python over heads, queries and keys."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

__all__ = ["Row", "slow_model"]

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

    def attention(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        **others: Any,
    ) -> tuple[Tensor, None]:
        _, heads, queries, dim = query.shape
        group = heads // key.shape[1]
        output = torch.zeros(1, queries, heads, value.shape[-1], dtype=torch.float64)
        for head in range(heads):
            for at in range(queries):
                scores = key[0, head // group].double() @ query[0, head, at].double()
                scores = scores * (dim**-0.5 if scaling is None else scaling)
                weights = row(layers[id(module)], head, at, scores)
                for place, weight in enumerate(weights.tolist()):
                    output[0, at, head] += weight * value[0, head // group, place].double()
        for head in range(heads):
            output[0, :, head] = change(layers[id(module)], head, output[0, :, head])
        return output.to(value), None

    layers: dict[int, int] = {}
    AttentionInterface.register(NAME, attention)
    copied = copy.deepcopy(network)
    copied.set_attn_implementation(NAME)
    with_layers = (one for one in copied.modules() if hasattr(one, "layer_idx"))
    named = [one for one in with_layers if hasattr(one, "scaling") or hasattr(one, "is_causal")]
    layers.update({id(one): int(one.layer_idx) for one in named})
    try:
        yield copied
    finally:
        AttentionInterface()._global_mapping.pop(NAME, None)
