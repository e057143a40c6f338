"""Comparison of each attention call with the library's eager attention on equal inputs.

In 16 bits two correct runs of a deep model drift apart from layer to layer. With equal queries,
keys and values the difference of one layer contains no error of the layers before it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.attention.arguments import eager_function
from attnviz.attention.kernel.blocks import Block
from attnviz.attention.masks.lazy_mask import added_to_scores
from attnviz.attention.recorder import Call
from attnviz.types import Head, Kind

__all__ = ["EqualInputs"]

SHORT = (torch.bfloat16, torch.float16)


@dataclass
class EqualInputs:
    """Listener that computes every call again by the library's eager attention, and compares.

    Attributes:
        kinds: kind of each attention module, by `id`.
        worst: largest difference of a weight over all calls.
        where: head of that weight; None before the first call.
        compared: True if every call was compared; False if a module's file has no eager attention.
    """

    kinds: Mapping[int, Kind]
    worst: float = 0.0
    where: Head | None = None
    compared: bool = True
    _layers: dict[Kind, int] = field(default_factory=dict)

    def begin(self, call: Call) -> Callable[[Block], None] | None:
        """Return an observer that collects the weights of the call."""
        if id(call.module) not in self.kinds:
            return None
        return _Weights(call)

    def end(self, call: Call, observer: Callable[[Block], None] | None) -> None:
        """Compute the call by the library's eager attention, and compare the weights."""
        if not isinstance(observer, _Weights):
            return
        kind = self.kinds[id(call.module)]
        layer = self._layers.get(kind, 0)
        self._layers[kind] = layer + 1
        theirs = _library(call)
        if theirs is None:
            self.compared = False
            return
        apart = (observer.weights - theirs.float()).abs()
        if call.query.dtype in SHORT:
            # T5 adds its bias in 16 bits, where neighbouring numbers near 5 are 0.03 apart: a
            # weight is also correct if it is near the one computed in float32.
            exact = _library(_widened(call))
            if exact is not None:
                apart = apart.minimum((observer.weights - exact).abs())
        # A weight that is not finite in the library's run has no difference, one that is not finite
        # here alone an infinite one.
        apart = apart.masked_fill(~theirs.isfinite(), 0.0).nan_to_num(nan=torch.inf)
        # A query without visible keys has weights 0; eager gives all keys the same weight.
        apart = apart.masked_fill((call.visibility.count == 0)[:, None, :, None], 0.0)
        per_head = apart.amax((0, 2, 3))
        if self.where is None or float(per_head.max()) > self.worst:
            self.worst = float(per_head.max())
            self.where = Head(kind, layer, int(per_head.argmax()))


def _widened(call: Call) -> Call:
    """Return the call with float32 tensors of the same numbers."""
    return replace(
        call,
        query=call.query.float(),
        key=call.key.float(),
        value=call.value.float(),
        bias=None if call.bias is None else call.bias.float(),
        sinks=None if call.sinks is None else call.sinks.float(),
    )


class _Weights:
    """Observer that collects all weights of one call."""

    def __init__(self, call: Call) -> None:
        shape = (*call.query.shape[:3], call.key.shape[2])
        self.weights = torch.zeros(shape, dtype=torch.float32, device=call.query.device)

    def __call__(self, block: Block) -> None:
        keys = slice(block.key_start, block.key_end)
        part = block.exponentials / block.sums.total[..., None]
        self.weights[:, block.heads, block.rows, keys] = part


def _library(call: Call) -> Float[Tensor, "batch head query key"] | None:
    """Return the weights by the eager function of the module's file; None if it has none."""
    eager = eager_function(type(call.module))
    if eager is None:
        return None
    mask = added_to_scores(call.visibility.table()[:, None], call.query.dtype)
    options: dict[str, Any] = {"softcap": call.softcap, "s_aux": call.sinks}
    options = {name: value for name, value in options.items() if value is not None}
    if call.bias is not None:
        if "position_bias" in inspect.signature(eager).parameters:
            options["position_bias"] = call.bias
        else:
            mask = mask + call.bias
    with torch.inference_mode():
        _, weights = eager(
            call.module,
            call.query,
            call.key,
            call.value,
            mask,
            scaling=call.scaling,
            dropout=0.0,
            **options,
        )
    return weights if isinstance(weights, Tensor) else None
