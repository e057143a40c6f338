"""AttentionStack: exact weights, scores and vectors of all layers and heads of one kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnviz.attention.stack.head_tile import HeadTile, group_of
from attnviz.attention.stack.layer import Layer, Vectors
from attnviz.attention.stack.pooling import Edges, Gathering, bins_of, even_edges, gathered
from attnviz.errors import CaptureError
from attnviz.types import Kind, Tokens

__all__ = ["AttentionStack"]

POOL_ROWS = 128  # queries whose weights exist at a time during pooling


@dataclass(frozen=True)
class AttentionStack:
    """Attention of one kind over one text: all layers and heads.

    Axis order is always layer, head, query, key; indices count from zero.

    Attributes:
        kind: "self", "encoder", "decoder", "cross", "image" or "text".
        query_tokens: tokens of the queries (rows of a map).
        key_tokens: tokens of the keys (columns); the same except in cross-attention.
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
        """True if weights can be computed; False if only row statistics were kept."""
        return self.layers[0].vectors is not None

    @property
    def same_text(self) -> bool:
        """True if queries and keys are the same tokens."""
        return self.kind != "cross"

    @cached_property
    def visible(self) -> Int[np.ndarray, "layer query"]:
        """Number of visible keys of each query."""
        return _frozen(np.stack([layer.visibility.count[0].numpy() for layer in self.layers]))

    @cached_property
    def seen_by(self) -> Int[np.ndarray, "layer key"]:
        """Number of queries that see each key."""
        return _frozen(np.stack([layer.visibility.seen_by()[0].numpy() for layer in self.layers]))

    @cached_property
    def not_finite(self) -> Bool[np.ndarray, "layer head"]:
        """Mask of the heads with NaN or infinity in a row of weights or in a value vector.

        Every query has an entropy, so an entropy that is not finite means scores that are not.
        """
        rows = ~np.isfinite(self.statistic("entropy")).all(-1)
        heads = self.shape[1]
        shared = [layer.finite_values.all(-1).cpu().numpy() for layer in self.layers]
        values = np.stack([one.repeat(heads // len(one)) for one in shared])
        return _frozen(rows | ~values)

    def statistic(self, name: str) -> Float[np.ndarray, "layer head row"]:
        """Return one of the statistics of `RowStatistics` for all layers."""
        stacked: np.ndarray = torch.stack([layer.rows[name] for layer in self.layers]).cpu().numpy()
        return stacked

    def on_host(self) -> AttentionStack:
        """Copy to the CPU; until then tensors stay on the model's device."""
        return dataclasses.replace(self, layers=tuple(layer.on_host() for layer in self.layers))

    def weights(
        self, layer: int, head: int, queries: slice = slice(None), keys: slice = slice(None)
    ) -> Float[np.ndarray, "query key"]:
        """Return the attention weights of a head, or of a rectangle of its map, float32.

        Rows sum to one over all keys; to less in models with learned sinks.

        >>> import attnviz
        >>> model = attnviz.load("gpt-classroom")
        >>> stack = attnviz.capture(model, "The cat sat on the mat.")["self"]
        >>> weights = stack.weights(layer=1, head=2)
        >>> weights.shape == stack.shape[2:]
        True
        >>> bool(abs(weights.sum(axis=1) - 1).max() < 1e-5)
        True
        >>> stack.weights(1, 2, queries=slice(2, 5), keys=slice(0, 4)).shape
        (3, 4)

        Raises:
            CaptureError: no such layer or head, only statistics were kept, or a slice with a step.
        """
        weights: np.ndarray = self._tile(layer, head, queries, keys).weights().cpu().numpy()
        return weights

    def scores(
        self, layer: int, head: int, queries: slice = slice(None), keys: slice = slice(None)
    ) -> Float[np.ndarray, "query key"]:
        """Return the scores before softmax, scaled and with bias; -inf at invisible keys.

        Raises:
            CaptureError: as `weights`.
        """
        tile = self._tile(layer, head, queries, keys)
        scores: np.ndarray = tile.masked_scores().cpu().numpy()
        return scores

    def query(self, layer: int, head: int) -> Float[np.ndarray, "position d_head"]:
        """Return the query vectors of a head, after position rotation."""
        return _copied(self._vectors(layer, head).query[head])

    def key(self, layer: int, head: int) -> Float[np.ndarray, "position d_head"]:
        """Return the key vectors of a head; the heads of a group share them."""
        vectors = self._vectors(layer, head)
        return _copied(vectors.key[group_of(vectors, head)])

    def value(self, layer: int, head: int) -> Float[np.ndarray, "position d_head"]:
        """Return the value vectors of a head; the heads of a group share them."""
        vectors = self._vectors(layer, head)
        return _copied(vectors.value[group_of(vectors, head)])

    def pooled(
        self, layer: int, head: int, bins: int = 256, how: Literal["max", "mean"] = "max"
    ) -> Float[np.ndarray, "query_bin key_bin"]:
        """Return an overview of a head's map: at most bins x bins cells, each a maximum or a mean.

        Bin b of an axis of n tokens: tokens floor(b n / bins) to floor((b + 1) n / bins) - 1.
        Computed on the model's device, without the whole map in memory.

        >>> import attnviz
        >>> model = attnviz.load("gpt-classroom")
        >>> stack = attnviz.capture(model, "The cat sat on the mat.")["self"]
        >>> overview = stack.pooled(layer=1, head=2, bins=4)
        >>> overview.shape
        (4, 4)
        >>> bool(overview.max() == stack.weights(layer=1, head=2).max())
        True

        Raises:
            CaptureError: as `weights`, an unknown `how`, or fewer than one bin.
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
        """Return the largest weight, or the sum, of each bin; 0 in bins without visible keys.

        Args:
            layer: index of the layer.
            head: index of the head.
            query_edges: bins of queries.
            key_edges: bins of keys.
            how: "max" or "sum".
            without: keys whose weights are left out.

        Raises:
            CaptureError: as `weights`.
        """
        bins = np.zeros((len(query_edges) - 1, len(key_edges) - 1), np.float32)
        query, visibility = self._vectors(layer, head).query, self.layers[layer].visibility
        width = int(key_edges[-1] - key_edges[0])
        buffer = query.new_empty(POOL_ROWS * width, dtype=torch.float32)
        for start in range(int(query_edges[0]), int(query_edges[-1]), POOL_ROWS):
            end = min(start + POOL_ROWS, int(query_edges[-1]))
            # Bins without visible keys stay 0: half of a causal map.
            left, right = bins_of(key_edges, *visibility.within(start, end))
            if left == right:
                continue
            edges = key_edges[left : right + 1]
            keys = slice(int(edges[0]), int(edges[-1]))
            left_out = [key - keys.start for key in without if keys.start <= key < keys.stop]
            rows = slice(start, end)
            binned_keys = self._binned_keys(layer, head, rows, edges, how, left_out, buffer)
            # A bin of queries may begin in the block before and end in the next.
            above, below = bins_of(query_edges, start, end)
            inside = query_edges[above : below + 1].clip(start, end) - start
            binned = gathered(binned_keys.T, inside, how).T.cpu().numpy()
            part = bins[above:below, left:right]
            np.maximum(part, binned, out=part) if how == "max" else np.add(part, binned, out=part)
        return bins

    def _binned_keys(
        self,
        layer: int,
        head: int,
        rows: slice,
        edges: Edges,
        how: Gathering,
        left_out: list[int],
        buffer: Float[Tensor, " size"],
    ) -> Float[Tensor, "query bin"]:
        """Return the largest weight, or the sum, of each bin of keys, on the model's device.

        `left_out` are columns of the block that begins at the first edge.
        """
        keys, edges = slice(int(edges[0]), int(edges[-1])), edges - edges[0]
        with torch.inference_mode():
            tile = self._tile(layer, head, rows, keys, buffer)
            if how == "sum":
                weights = tile.weights()
                weights[:, left_out] = 0.0
                return gathered(weights, edges, how)
            # softmax is monotone: take the maximum of the scores, exponentiate only that
            scores = tile.masked_scores()
            scores[:, left_out] = -torch.inf
            return tile.weigh(gathered(scores, edges, how))

    def _vectors(self, layer: int, head: int) -> Vectors:
        """Return the vectors of a layer, or raise CaptureError."""
        n_layers, n_heads, _, _ = self.shape
        if not (0 <= layer < n_layers and 0 <= head < n_heads):
            raise CaptureError(
                f"there is no head L{layer}·H{head} in this {self.kind} attention: layers go from "
                f"0 to {n_layers - 1}, heads from 0 to {n_heads - 1}"
            )
        vectors = self.layers[layer].vectors
        if vectors is None:
            raise CaptureError(
                'this capture kept statistics only, so it has no weights; capture with keep="qkv"'
            )
        return vectors

    def _tile(
        self, layer: int, head: int, queries: slice, keys: slice, buffer: Tensor | None = None
    ) -> HeadTile:
        """Return a rectangle of a head's map, on the model's device; in `buffer` if given."""
        vectors = self._vectors(layer, head)
        rows, columns = _bounds(queries, self.shape[2]), _bounds(keys, self.shape[3])
        return HeadTile.of(self.layers[layer], vectors, head, rows, columns, buffer)


def _copied(vectors: Float[Tensor, "position d_head"]) -> Float[np.ndarray, "position d_head"]:
    """Copy to the CPU, always: a change of the result must not change the capture."""
    return vectors.float().cpu().numpy().copy()


def _frozen(numbers: np.ndarray) -> np.ndarray:
    numbers.flags.writeable = False
    return numbers


def _bounds(part: slice, length: int) -> slice:
    """Return a slice with integer bounds; raise CaptureError if it has a step."""
    start, stop, step = part.indices(length)
    if step != 1:
        raise CaptureError(f"tiles are neighbouring tokens: a step of {step} is not possible")
    return slice(start, max(start, stop))
