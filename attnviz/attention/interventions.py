"""Who may change what attention gives: experiments that switch heads off, and those that watch.

Like the recorder, an intervention belongs to the running context alone. One person's ablation must
not be in another's capture, although both run the same model through the same function.
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
    """Something that sees, and may replace, what every attention call gives."""

    def output(
        self, call: Call, output: Float[Tensor, "batch query head value_dim"]
    ) -> Float[Tensor, "batch query head value_dim"]:
        """What the model is to go on with: `output` itself, or something else of its shape."""
        ...


T = TypeVar("T", bound=Intervention)

_intervention: ContextVar[Intervention | None] = ContextVar("attnviz_intervention", default=None)


def intervened(call: Call, output: Tensor) -> Tensor:
    """The output of a call as the running context wants it."""
    intervention = _intervention.get()
    return output if intervention is None else intervention.output(call, output)


@contextmanager
def intervening(intervention: T) -> Iterator[T]:
    """Within this block, and in this context only, `intervention` has the last word on outputs."""
    token = _intervention.set(intervention)
    try:
        yield intervention
    finally:
        _intervention.reset(token)


class Places:
    """Which layer of which kind a call is.

    A module that is used once per run tells it by itself. One that is used again (ALBERT runs the
    same layer twelve times) tells it by counting: such a model has to be run from its first layer
    on, and `restart` has to be called before each run.

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

    def restart(self) -> None:
        """A new run begins."""
        self._calls.clear()

    def of(self, call: Call) -> tuple[Kind, int] | None:
        """Kind and layer of a call; None for one that is none of the model's known attentions.

        To be asked once per call.
        """
        kind = self._kinds.get(id(call.module))
        if kind is None:
            return None
        if not self.shared:
            return kind, self._layer[id(call.module)]
        self._calls[kind] += 1
        return kind, self._calls[kind] - 1
