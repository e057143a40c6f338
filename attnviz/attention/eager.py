"""The library's own eager attention on the very queries, keys and values that ours was given.

In sixteen bits two correct runs of a deep model drift apart, layer by layer: their difference says
little about one attention. Asked with equal inputs, each layer answers for itself.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnviz.attention.blocks import Block
from attnviz.attention.recorder import Call
from attnviz.types import Head, Kind

__all__ = ["EqualInputs"]

SHORT = (torch.bfloat16, torch.float16)


@dataclass
class EqualInputs:
    """A listener that computes every call a second time, the library's way, and compares.

    Attributes:
        kinds: the kind of each attention module, by `id`.
        worst: the largest difference of a weight, over all calls.
        where: the head it belongs to.
        compared: whether every call could be compared: its module's file has an eager attention.
    """

    kinds: Mapping[int, Kind]
    worst: float = 0.0
    where: Head | None = None
    compared: bool = True
    _layers: dict[Kind, int] = field(default_factory=dict)

    def begin(self, call: Call) -> Callable[[Block], None] | None:
        """Collect our weights as they are made."""
        if id(call.module) not in self.kinds:
            return None
        return _Weights(call)

    def end(self, call: Call, observer: Callable[[Block], None] | None) -> None:
        """Compute the same call the library's way."""
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
            # A T5 adds its bias in sixteen bits, where scores of 5 are 0.03 apart. Weights that are
            # near the same call in full precision are not wrong for being far from that.
            exact = _library(_widened(call))
            if exact is not None:
                apart = apart.minimum((observer.weights - exact).abs())
        # A query that sees nothing has no weights to compare; eager spreads it over everything.
        apart = apart.masked_fill((call.visibility.count == 0)[:, None, :, None], 0.0)
        per_head = apart.amax((0, 2, 3))
        if self.where is None or float(per_head.max()) > self.worst:
            self.worst = float(per_head.max())
            self.where = Head(kind, layer, int(per_head.argmax()))


def _widened(call: Call) -> Call:
    """The same call of the same numbers, to be computed in float32."""
    return replace(
        call,
        query=call.query.float(),
        key=call.key.float(),
        value=call.value.float(),
        bias=None if call.bias is None else call.bias.float(),
        sinks=None if call.sinks is None else call.sinks.float(),
    )


class _Weights:
    """All weights of one call, put together from its blocks."""

    def __init__(self, call: Call) -> None:
        shape = (*call.query.shape[:3], call.key.shape[2])
        self.weights = torch.zeros(shape, device=call.query.device)

    def __call__(self, block: Block) -> None:
        keys = slice(block.key_start, block.key_end)
        part = block.exponentials / block.sums.total[..., None]
        self.weights[:, block.heads, block.rows, keys] = part


def _library(call: Call) -> Float[Tensor, "batch head query key"] | None:
    """The weights of a call by the eager function of the file its module comes from."""
    eager = _eager_function(call.module)
    if eager is None:
        return None
    lowest = torch.finfo(call.query.dtype).min
    mask = torch.zeros((), dtype=call.query.dtype, device=call.query.device)
    mask = torch.where(call.visibility.table()[:, None], mask, lowest)
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


def _eager_function(module: nn.Module) -> Callable[..., Any] | None:
    """`eager_attention_forward` of the module's own file, or of the file it inherits from."""
    for kind in type(module).__mro__:
        found = getattr(sys.modules.get(kind.__module__), "eager_attention_forward", None)
        if found is not None:
            return found  # type: ignore[no-any-return]
    return None
