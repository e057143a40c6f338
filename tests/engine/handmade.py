"""Attention without a model: random vectors, causal masks, recorded stacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attnviz.attention import AttentionStack, Keep, Layer, Recorder, listening
from attnviz.attention.interface import attention
from attnviz.types import Kind, Tokens


@dataclass(frozen=True)
class Vectors:
    """Queries, keys and values of a batch."""

    query: Tensor
    key: Tensor
    value: Tensor

    def numpy(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.query.float().numpy(), self.key.float().numpy(), self.value.float().numpy()


def vectors(
    batch: int = 2,
    heads: int = 4,
    groups: int = 4,
    queries: int = 11,
    keys: int = 11,
    dim: int = 6,
    value_dim: int = 5,
    seed: int = 0,
) -> Vectors:
    """Return random vectors, large enough for weights far from uniform."""
    generator = torch.Generator().manual_seed(seed)
    return Vectors(
        2 * torch.randn(batch, heads, queries, dim, generator=generator),
        torch.randn(batch, groups, keys, dim, generator=generator),
        torch.randn(batch, groups, keys, value_dim, generator=generator),
    )


def tokens(ids: Any) -> Tokens:
    """Return tokens with these ids, labelled t0, t1, ..."""
    ids = np.asarray(ids, np.int64)
    return Tokens(ids, tuple(f"t{number}" for number in ids), np.zeros(len(ids), bool))


def record(
    layers: list[Vectors],
    mask: Tensor | None = None,
    ids: Any = None,
    kind: Kind = "self",
    keep: Keep = "qkv",
    text: int = 0,
    **options: Any,
) -> AttentionStack:
    """Record a call per set of vectors as a model does; return the stack of one text."""
    modules = [nn.Module().eval() for _ in layers]
    names = {id(module): f"layer {number}" for number, module in enumerate(modules)}
    batch, _, queries, _ = layers[0].query.shape
    keys = layers[0].key.shape[2]
    row = torch.as_tensor(np.arange(queries) + 100 if ids is None else np.asarray(ids))
    known = {} if kind == "cross" else {kind: row.expand(batch, -1)}
    recorder = Recorder(dict.fromkeys(names, kind), names, known, keep)
    with torch.inference_mode(), listening(recorder):
        for module, one in zip(modules, layers, strict=True):
            attention(module, one.query, one.key, one.value, mask, **options)
    return AttentionStack(
        kind,
        tokens(row.tolist()),
        tokens(range(keys)) if kind == "cross" else tokens(row.tolist()),
        tuple(Layer.of(one, text, queries, keys) for one in recorder.layers[kind]),
    )


def from_scores(
    scores: np.ndarray, visible: np.ndarray | None = None, ids: Any = None, **options: Any
) -> AttentionStack:
    """Return a stack with these scores, [layer, head, query, key]; keys are unit vectors."""
    layers = []
    for layer in torch.as_tensor(scores, dtype=torch.float32):
        unit = torch.eye(layer.shape[-1]).expand(1, layer.shape[0], -1, -1)
        layers.append(Vectors(layer[None], unit, unit))
    mask = None if visible is None else torch.as_tensor(visible)[None, None]
    return record(layers, mask, ids, scaling=1.0, **options)


def causal(n: int) -> np.ndarray:
    """Return the mask of visible pairs of a causal model."""
    return np.tril(np.ones((n, n), bool))
