"""Recording of attention calls: one recorder per capture, in a context variable.

The attention function is registered once per process and shared by all models and users. The
recorder is stored in a context variable, so that simultaneous captures do not mix; hooks on a
shared model would mix them.
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

from attnviz.attention.kernel.blocks import Block, Normalizer, Workspace
from attnviz.attention.kernel.row_statistics import RowObserver, alone
from attnviz.attention.kernel.score_terms import ScoreTerms
from attnviz.attention.kernel.token_pairs import TokenPairs
from attnviz.attention.masks.position_bias import PositionBias
from attnviz.attention.masks.visibility import Visibility
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
    """Arguments of one call of the attention function."""

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
    """Object that is notified of every attention call of a context."""

    def begin(self, call: Call) -> Callable[[Block], None] | None:
        """Return an observer of the call's blocks, or None; runs before the call is computed."""
        ...

    def end(self, call: Call, observer: Callable[[Block], None] | None) -> None:
        """Receive the observer that `begin` returned, after all rows are computed."""
        ...


L = TypeVar("L", bound=Listener)

_listening: ContextVar[tuple[Listener, Workspace] | None] = ContextVar(
    "attnviz_listening", default=None
)


def current() -> tuple[Listener, Workspace] | None:
    """Return the listener of the current context and its workspace; None without a listener."""
    return _listening.get()


@contextmanager
def listening(listener: L) -> Iterator[L]:
    """Notify `listener` of all attention calls of the current context."""
    token = _listening.set((listener, Workspace()))
    try:
        yield listener
    finally:
        _listening.reset(token)


@dataclass(frozen=True)
class BatchVectors:
    """Vectors of one layer over a batch, with the normaliser and bias of their scores.

    Attributes:
        query: after position rotation.
        key: of as many heads as the model has key heads.
        value: of as many heads as `key`.
        normalizer: turns a score into a weight.
        bias: one per text, or one for all texts; empty without a bias.
    """

    query: Float[Tensor, "batch head query dim"]
    key: Float[Tensor, "batch key_head key dim"]
    value: Float[Tensor, "batch key_head key value_dim"]
    normalizer: Normalizer
    bias: tuple[PositionBias, ...]


@dataclass(frozen=True)
class LayerRecord:
    """Attention of one layer over a batch; `vectors` is None if only statistics are kept.

    `finite_values` is a mask of the keys whose value vectors hold neither NaN nor infinity.
    """

    module_name: str
    visibility: Visibility
    scaling: float
    softcap: float | None
    sinks: Float[Tensor, " head"] | None
    rows: RowObserver
    vectors: BatchVectors | None
    finite_values: Bool[Tensor, "batch key_head key"]


@dataclass
class Recorder:
    """Listener that records a forward pass, layer by layer, per kind of attention.

    Args:
        kinds: kind of each attention module of the model, by `id`.
        names: name of each attention module, by `id`.
        ids: token ids, padding included, of each kind whose queries and keys are the same text.
        keep: "qkv" for vectors and statistics, "statistics" for row statistics only.
        real: mask of queries that are not padding, per kind; kinds without padding are left out.
        progress: callback with the number of finished layers of all kinds, after each layer. An
            exception from it ends the pass.
        by_blocks: names of modules that do not use the fused path; see `inaccurate`.
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
        """Return an observer of the call's rows; None if its module is not in `kinds`."""
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
        """Append the record of a call."""
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
                finite_values=call.value.detach().isfinite().all(-1),
            )
        )
        if self.progress is not None:
            self.progress(sum(map(len, self.layers.values())))

    def inaccurate(self) -> frozenset[str]:
        """Return the modules whose fused statistics are inaccurate: run the pass again by blocks.

        Waits for the device once, after the pass, instead of once per layer.
        """
        records = [record for layers in self.layers.values() for record in layers]
        flags = [
            (record.module_name, record.rows.inaccurate)
            for record in records
            if record.rows.inaccurate is not None
        ]
        if not flags:
            return frozenset()
        names, tensors = zip(*flags, strict=True)
        values = torch.stack(tensors).tolist()
        return frozenset(name for name, value in zip(names, values, strict=True) if value)

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
        """Return the bias of each text; cached, because T5 passes the same tensor to all layers."""
        if id(bias) not in self._bias:
            # The tensor is kept with the result: the id of a freed tensor may be reused.
            self._bias[id(bias)] = (bias, tuple(PositionBias.of(one.detach()) for one in bias))
        return self._bias[id(bias)][1]
