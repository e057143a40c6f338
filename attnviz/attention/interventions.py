"""Interventions: replace or observe attention outputs within a context.

An intervention belongs to one context, as a recorder does: an ablation of one user does not change
the captures of other users, although both run the same model through the same function.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

from jaxtyping import Float
from torch import Tensor

from attnviz.attention.recorder import Call
from attnviz.types import Kind

__all__ = ["Intervention", "Places", "intervened", "intervening"]


class Intervention(Protocol):
    """Object that receives, and may replace, the output of every attention call."""

    def output(
        self, call: Call, output: Float[Tensor, "batch query head value_dim"]
    ) -> Float[Tensor, "batch query head value_dim"]:
        """Return the output that the model continues with, of the same shape as `output`."""
        ...


T = TypeVar("T", bound=Intervention)

_intervention: ContextVar[Intervention | None] = ContextVar("attnviz_intervention", default=None)


def intervened(call: Call, output: Tensor) -> Tensor:
    """Return the output of a call after the intervention of the current context."""
    intervention = _intervention.get()
    return output if intervention is None else intervention.output(call, output)


@contextmanager
def intervening(intervention: T) -> Iterator[T]:
    """Apply `intervention` to all attention outputs of the current context."""
    token = _intervention.set(intervention)
    try:
        yield intervention
    finally:
        _intervention.reset(token)


class Places:
    """Kind and layer of each attention call.

    A module that runs once per forward pass has one layer, and its calls may come in any order and
    number. Where one runs several times, `shared` is True and calls are counted: such places are
    for one forward pass from the first layer. ALBERT does not come here so: what is run of it is a
    view with a module for each layer (`separate_layers.py`).

    Args:
        kinds: kind by `id` of the attention modules, in the order in which they run.
        layers: number of layers per kind.
    """

    def __init__(self, kinds: Mapping[int, Kind], layers: Mapping[Kind, int]) -> None:
        self._kinds = kinds
        modules = Counter(kinds.values())
        self.shared = any(modules[kind] != count for kind, count in layers.items())
        self._layer: dict[int, int] = {}
        seen: Counter[Kind] = Counter()
        for module, kind in kinds.items():
            self._layer[module] = seen[kind]
            seen[kind] += 1
        self._calls: Counter[Kind] = Counter()

    def of(self, call: Call) -> tuple[Kind, int] | None:
        """Return kind and layer of a call; None if its module is not an attention of the model.

        Counts the call if modules are `shared`: use it once per call there.
        """
        kind = self._kinds.get(id(call.module))
        if kind is None:
            return None
        if not self.shared:
            return kind, self._layer[id(call.module)]
        self._calls[kind] += 1
        return kind, self._calls[kind] - 1
