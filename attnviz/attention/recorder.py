"""Who records: one recorder per capture, found through a context variable.

The attention function is registered once per process and is shared by every model and every user.
Which recorder it feeds belongs to the running capture alone; a context variable keeps thirty
students' captures apart where a hook on the shared model would mix them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attnviz.attention.bias import PositionBias
from attnviz.attention.blocks import Block, Normalizer, Workspace
from attnviz.attention.pairs import TokenPairs
from attnviz.attention.rows import RowObserver, alone
from attnviz.attention.scores import ScoreTerms
from attnviz.attention.visibility import Visibility
from attnviz.types import Kind

__all__ = [
    "BatchVectors",
    "Call",
    "Keep",
    "LayerRecord",
    "Listener",
    "Recorder",
    "current",
    "listening",
]

Keep = Literal["qkv", "statistics"]


@dataclass(frozen=True)
class Call:
    """One call of the attention function, as the model made it."""

    module: nn.Module
    query: Float[Tensor, "batch head query dim"]
    key: Float[Tensor, "batch key_head key dim"]
    value: Float[Tensor, "batch key_head key value_dim"]
    visibility: Visibility
    scaling: float
    softcap: float | None
    bias: Float[Tensor, "#batch #head query key"] | None
    sinks: Float[Tensor, " head"] | None

    @property
    def terms(self) -> ScoreTerms:
        """Terms of the scores of the call."""
        return ScoreTerms(self.scaling, self.softcap, self.bias, self.sinks)


class Listener(Protocol):
    """Something that wants to know of attention calls."""

    def begin(self, call: Call) -> Callable[[Block], None] | None:
        """Called before the call is computed; what it returns is shown every block."""
        ...

    def end(self, call: Call, observer: Callable[[Block], None] | None) -> None:
        """Called when the rows are complete, with what `begin` returned."""
        ...


L = TypeVar("L", bound=Listener)

_listening: ContextVar[tuple[Listener, Workspace] | None] = ContextVar(
    "attnviz_listening", default=None
)


def current() -> tuple[Listener, Workspace] | None:
    """The listener of the running context, if anybody listens, and its calls' memory."""
    return _listening.get()


@contextmanager
def listening(listener: L) -> Iterator[L]:
    """Within this block, and in this context only, attention calls are told to `listener`."""
    token = _listening.set((listener, Workspace()))
    try:
        yield listener
    finally:
        _listening.reset(token)


@dataclass(frozen=True)
class BatchVectors:
    """Vectors of one layer over a batch, and what turns their scores into weights.

    Attributes:
        bias: one per text, or one for all; empty without a bias.
    """

    query: Float[Tensor, "batch head query dim"]
    key: Float[Tensor, "batch key_head key dim"]
    value: Float[Tensor, "batch key_head key value_dim"]
    normalizer: Normalizer
    bias: tuple[PositionBias, ...]


@dataclass(frozen=True)
class LayerRecord:
    """Attention of one layer over a batch; `vectors` is None if only statistics are kept."""

    module_name: str
    visibility: Visibility
    scaling: float
    softcap: float | None
    sinks: Float[Tensor, " head"] | None
    rows: RowObserver
    vectors: BatchVectors | None


@dataclass
class Recorder:
    """Records a forward pass, layer by layer, per kind of attention.

    Args:
        kinds: the kind of each attention module of the model, by `id`.
        names: the name of each attention module, by `id`.
        ids: token ids per kind whose queries and keys are the same text; pads included.
        keep: "qkv", or "statistics" to keep nothing but the rows' numbers.
        real: which queries are no padding, per kind; left out where all are real.
        progress: told after each layer how many are done, all kinds together. What it raises ends
            the pass.
        by_blocks: names of modules whose rows must come from blocks; see `inaccurate`.
    """

    kinds: Mapping[int, Kind]
    names: Mapping[int, str]
    ids: Mapping[Kind, Int[Tensor, "batch position"]]
    keep: Keep = "qkv"
    real: Mapping[Kind, Bool[Tensor, "batch query"]] = field(default_factory=dict)
    progress: Callable[[int], None] | None = None
    by_blocks: frozenset[str] = frozenset()
    layers: dict[Kind, list[LayerRecord]] = field(default_factory=dict)
    _pairs: dict[Kind, TokenPairs] = field(default_factory=dict)
    _bias: dict[int, tuple[Tensor, tuple[PositionBias, ...]]] = field(default_factory=dict)

    def begin(self, call: Call) -> RowObserver | None:
        """Prepare to observe the rows of a known module's call."""
        kind = self.kinds.get(id(call.module))
        if kind is None:
            return None
        batch, heads, queries, _ = call.query.shape
        if kind in self.ids and kind not in self._pairs:
            self._pairs[kind] = TokenPairs(self.ids[kind])
        return RowObserver(
            batch,
            heads,
            queries,
            call.visibility,
            self._pairs.get(kind),
            call.query.device,
            self.real.get(kind),
            self.names[id(call.module)] in self.by_blocks,
        )

    def end(self, call: Call, observer: Callable[[Block], None] | None) -> None:
        """Keep what the capture is to keep of a call."""
        if not isinstance(observer, RowObserver):
            return
        rows = observer.finish()
        self.layers.setdefault(self.kinds[id(call.module)], []).append(
            LayerRecord(
                module_name=self.names[id(call.module)],
                visibility=call.visibility,
                scaling=call.scaling,
                softcap=call.softcap,
                sinks=None if call.sinks is None else call.sinks.detach(),
                rows=rows,
                vectors=self._vectors(call, rows) if self.keep == "qkv" else None,
            )
        )
        if self.progress is not None:
            self.progress(sum(map(len, self.layers.values())))

    def inaccurate(self) -> frozenset[str]:
        """The modules whose scores were too large for the fused path: to be read again by blocks.

        Waits until the pass is over on the device; asked in every layer, it would wait there.
        """
        records = [record for layers in self.layers.values() for record in layers]
        asked = [
            (one.module_name, one.rows.inaccurate)
            for one in records
            if one.rows.inaccurate is not None
        ]
        if not asked:
            return frozenset()
        names, flags = zip(*asked, strict=True)
        answers = torch.stack(flags).tolist()
        return frozenset(name for name, answer in zip(names, answers, strict=True) if answer)

    def _vectors(self, call: Call, rows: RowObserver) -> BatchVectors:
        """Return the vectors of a call, without a larger tensor that would stay in memory."""
        query, key, value = call.query.detach(), call.key.detach(), call.value.detach()
        if call.query.shape[0] == 1:
            # Batches are cut into texts after the pass. A single text is copied here, layer by
            # layer, or all vectors would exist twice after the pass.
            query, key, value = alone(query), alone(key), alone(value)
        bias = () if call.bias is None else self._compress(call.bias)
        return BatchVectors(query, key, value, rows.normalizer, bias)

    def _compress(self, bias: Tensor) -> tuple[PositionBias, ...]:
        """The bias per text; T5 hands the same tensor to every layer, so it is done once."""
        if id(bias) not in self._bias:
            # The tensor is held beside the result, or its id could be given to another one.
            self._bias[id(bias)] = (bias, tuple(PositionBias.of(one.detach()) for one in bias))
        return self._bias[id(bias)][1]
