"""All layers and heads of one kind of attention over one text: any weight, on demand, exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnviz.attention.bias import PositionBias
from attnviz.attention.blocks import Normalizer
from attnviz.attention.kernel import masked_scores
from attnviz.attention.layer import Layer
from attnviz.attention.pooling import Edges, Gathering, bins_of, even_edges, gathered
from attnviz.errors import CaptureError
from attnviz.types import Kind, Tokens

__all__ = ["AttentionStack"]

POOL_ROWS = 128  # queries whose weights exist at a time while an overview is pooled


@dataclass(frozen=True)
class AttentionStack:
    """Attention of one kind, every layer and head, over one text.

    Axis order is always layer, head, query, key; everything counts from zero.

    Attributes:
        kind: "self", "encoder", "decoder" or "cross".
        query_tokens: the tokens that look.
        key_tokens: the tokens that are looked at; the same but for cross attention.
        layers: one record per layer.
    """

    kind: Kind
    query_tokens: Tokens
    key_tokens: Tokens
    layers: tuple[Layer, ...]

    @cached_property
    def shape(self) -> tuple[int, int, int, int]:
        """(layers, heads, queries, keys)."""
        heads, queries = self.layers[0].rows["entropy"].shape
        return len(self.layers), heads, queries, len(self.key_tokens)

    @property
    def keeps_weights(self) -> bool:
        """Whether weights can be had, or only the rows' statistics."""
        return self.layers[0].query is not None

    @property
    def same_text(self) -> bool:
        """Whether queries and keys are the same tokens."""
        return self.kind != "cross"

    @cached_property
    def visible(self) -> Int[np.ndarray, "layer query"]:
        """How many keys each query sees."""
        return _frozen(np.stack([layer.visibility.count[0].numpy() for layer in self.layers]))

    @cached_property
    def seen_by(self) -> Int[np.ndarray, "layer key"]:
        """How many queries see each key."""
        return _frozen(np.stack([layer.visibility.seen_by()[0].numpy() for layer in self.layers]))

    def statistic(self, name: str) -> Float[np.ndarray, "layer head row"]:
        """One of the numbers of `RowStatistics`, all layers stacked."""
        stacked: np.ndarray = torch.stack([layer.rows[name] for layer in self.layers]).cpu().numpy()
        return stacked

    def on_host(self) -> AttentionStack:
        """The same stack in the host's memory. Until asked, all of it stays where the model ran."""
        return dataclasses.replace(self, layers=tuple(layer.on_host() for layer in self.layers))

    def weights(
        self, layer: int, head: int, queries: slice = slice(None), keys: slice = slice(None)
    ) -> Float[np.ndarray, "query key"]:
        """The attention weights of a head, or of a tile of its map; float32.

        Rows sum to one over all keys (to less where the model has a learned sink).

        Raises:
            CaptureError: there is no such layer or head, or only statistics were kept.
        """
        tile: np.ndarray = self._weights(layer, head, queries, keys).cpu().numpy()
        return tile

    def scores(
        self, layer: int, head: int, queries: slice = slice(None), keys: slice = slice(None)
    ) -> Float[np.ndarray, "query key"]:
        """The scores before the softmax, scaled and biased; -inf where the key is invisible.

        Raises:
            CaptureError: as `weights`.
        """
        scores, _, _ = self._scores(layer, head, queries, keys)
        tile: np.ndarray = self._hide(scores, layer, queries, keys, -np.inf).cpu().numpy()
        return tile

    def query(self, layer: int, head: int) -> Float[np.ndarray, "position d_head"]:
        """A head's query vectors, after rotation where the model rotates."""
        return self._vector(self._layer(layer, head).query, head)

    def key(self, layer: int, head: int) -> Float[np.ndarray, "position d_head"]:
        """A head's key vectors; heads of one group share them."""
        return self._vector(self._layer(layer, head).key, head)

    def value(self, layer: int, head: int) -> Float[np.ndarray, "position d_head"]:
        """A head's value vectors; heads of one group share them."""
        return self._vector(self._layer(layer, head).value, head)

    def pooled(
        self, layer: int, head: int, bins: int = 256, how: Literal["max", "mean"] = "max"
    ) -> Float[np.ndarray, "query_bin key_bin"]:
        """An overview of a long map: at most `bins` x `bins` cells, each a maximum or a mean.

        Bin b of an axis of n tokens covers tokens floor(b n / bins) to floor((b + 1) n / bins) - 1.
        It is made where the vectors are; the map itself is never moved.

        Raises:
            CaptureError: as `weights`, or for an unknown `how`.
        """
        if how not in ("max", "mean"):
            raise CaptureError(f"a map is pooled by 'max' or 'mean', not by {how!r}")
        if bins < 1:
            raise CaptureError(f"an overview needs at least one bin, not {bins}")
        _, _, n_queries, n_keys = self.shape
        edges = even_edges(n_queries, bins), even_edges(n_keys, bins)
        if how == "max":
            return self.binned(layer, head, *edges, "max")
        sums = self.binned(layer, head, *edges, "sum")
        sums /= np.outer(*map(np.diff, edges))
        return sums

    def binned(
        self,
        layer: int,
        head: int,
        query_edges: Edges,
        key_edges: Edges,
        how: Gathering,
        without: Collection[int] = (),
    ) -> Float[np.ndarray, "query_bin key_bin"]:
        """The largest weight of each bin of a part of a map, or the sum; 0 where nothing is seen.

        Args:
            layer: of which layer.
            head: of which head.
            query_edges: the bins of queries.
            key_edges: the bins of keys.
            how: "max" or "sum".
            without: keys whose weights are left out.

        Raises:
            CaptureError: as `weights`.
        """
        found = np.zeros((len(query_edges) - 1, len(key_edges) - 1), np.float32)
        record = self._layer(layer, head)
        assert record.query is not None  # noqa: S101 - _layer has refused captures without vectors
        width = int(key_edges[-1] - key_edges[0])
        memory = record.query.new_empty(POOL_ROWS * width, dtype=torch.float32)
        for start in range(int(query_edges[0]), int(query_edges[-1]), POOL_ROWS):
            end = min(start + POOL_ROWS, int(query_edges[-1]))
            # Bins of keys that no row sees stay empty: half of a causal map.
            left, right = bins_of(key_edges, *record.visibility.within(start, end))
            if left == right:
                continue
            columns = key_edges[left : right + 1]
            block = slice(start, end), slice(int(columns[0]), int(columns[-1]))
            left_out = [key for key in without if block[1].start <= key < block[1].stop]
            wide = self._gathered(layer, head, block, columns, how, left_out, memory)
            # A bin may have begun in the block before and end in the next.
            above, below = bins_of(query_edges, start, end)
            inside = query_edges[above : below + 1].clip(start, end) - start
            rows = gathered(wide.T, inside, how).T.cpu().numpy()
            part = found[above:below, left:right]
            np.maximum(part, rows, out=part) if how == "max" else np.add(part, rows, out=part)
        return found

    def _gathered(
        self,
        layer: int,
        head: int,
        block: tuple[slice, slice],
        edges: Edges,
        how: Gathering,
        without: list[int],
        memory: Float[Tensor, " size"],
    ) -> Float[Tensor, "query bin"]:
        """The largest weight, or the sum, of each bin of keys, where the vectors are."""
        columns, edges = [key - block[1].start for key in without], edges - edges[0]
        with torch.inference_mode():
            if how == "sum":
                weights = self._weights(layer, head, *block, memory)
                weights[:, columns] = 0.0
                return gathered(weights, edges, how)
            # The largest score has the largest weight: no other need become one.
            scores, normalizer, rows = self._scores(layer, head, *block, memory)
            seen = self._hide(scores, layer, *block, -torch.inf)
            seen[:, columns] = -torch.inf
            return _weighed(gathered(seen, edges, how), normalizer, head, rows)

    def _weights(
        self, layer: int, head: int, queries: slice, keys: slice, memory: Tensor | None = None
    ) -> Float[Tensor, "query key"]:
        """`weights`, where the vectors are; in `memory` if that is given."""
        scores, normalizer, rows = self._scores(layer, head, queries, keys, memory)
        weights = _weighed(scores, normalizer, head, rows)
        return self._hide(weights, layer, queries, keys, 0.0)

    def _layer(self, layer: int, head: int) -> Layer:
        n_layers, n_heads, _, _ = self.shape
        if not (0 <= layer < n_layers and 0 <= head < n_heads):
            raise CaptureError(
                f"there is no head L{layer}·H{head} in this {self.kind} attention: layers go from "
                f"0 to {n_layers - 1}, heads from 0 to {n_heads - 1}"
            )
        found = self.layers[layer]
        if found.query is None:
            raise CaptureError(
                'this capture kept statistics only, so it has no weights; capture with keep="qkv"'
            )
        return found

    def _vector(self, tensor: Tensor | None, head: int) -> Float[np.ndarray, "position d_head"]:
        assert tensor is not None  # noqa: S101 - _layer has refused captures without vectors
        group = head * tensor.shape[0] // self.shape[1]
        # A copy: what a reader does with the vector must not change the capture.
        return tensor[group].float().cpu().numpy().copy()

    def _scores(
        self, layer: int, head: int, queries: slice, keys: slice, memory: Tensor | None = None
    ) -> tuple[Tensor, Normalizer, slice]:
        record = self._layer(layer, head)
        assert record.query is not None and record.key is not None  # noqa: S101
        assert record.normalizer is not None  # noqa: S101
        rows, columns = _bounds(queries, self.shape[2]), _bounds(keys, self.shape[3])
        group = head * record.key.shape[0] // self.shape[1]
        bias = None
        if record.bias is not None:
            one = 0 if _heads(record.bias) == 1 else head
            bias = record.bias.block(rows.start, rows.stop, columns.start, columns.stop, one)
            bias = bias[None, None]
        with torch.inference_mode():
            scores = masked_scores(
                record.query[None, head, None, rows],
                record.key[None, group, None, columns],
                scaling=record.scaling,
                softcap=record.softcap,
                bias=bias,
                out=memory,
            )
        return scores[0, 0], record.normalizer, rows

    def _hide(
        self, values: Tensor, layer: int, queries: slice, keys: slice, hidden: float
    ) -> Float[Tensor, "query key"]:
        """The values with `hidden` in place of those at invisible keys."""
        rows, columns = _bounds(queries, self.shape[2]), _bounds(keys, self.shape[3])
        rule = self.layers[layer].visibility.on(values.device)
        with torch.inference_mode():
            for left, right in rule.ragged(rows.start, rows.stop, columns.start, columns.stop):
                visible = rule.table(rows.start, rows.stop, left, right)[0]
                part = values[:, left - columns.start : right - columns.start]
                part.masked_fill_(~visible, hidden)
        return values


def _weighed(
    scores: Float[Tensor, "query key"], normalizer: Normalizer, head: int, rows: slice
) -> Float[Tensor, "query key"]:
    """A head's scores made weights, in place."""
    highest = normalizer.highest[head, rows, None].to(scores.device)
    total = normalizer.total[head, rows, None].to(scores.device)
    with torch.inference_mode():
        return scores.sub_(highest).exp_().div_(total)


def _frozen(numbers: np.ndarray) -> np.ndarray:
    numbers.flags.writeable = False
    return numbers


def _heads(bias: PositionBias) -> int:
    numbers = bias.by_distance if bias.by_distance is not None else bias.table
    assert numbers is not None  # noqa: S101
    return int(numbers.shape[0])


def _bounds(part: slice, length: int) -> slice:
    """A slice with plain bounds; steps are refused, since a tile is a rectangle of neighbours."""
    start, stop, step = part.indices(length)
    if step != 1:
        raise CaptureError(f"tiles are neighbouring tokens: a step of {step} is not possible")
    return slice(start, max(start, stop))
