"""Queries, keys and values of the open head, as the variants of efficient attention take them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from attnviz import efficient
from attnviz.attention import AttentionStack
from attnviz.efficient import EfficientResult, Variant
from attnviz.efficient.variant_errors import Trade, trades
from attnviz.types import Head

__all__ = ["LONGEST", "HeadVectors", "head_vectors", "possible"]

LONGEST = 256
"""Tokens that are read here: each variant computes a whole matrix of weights to be shown."""

SELF_ONLY = {"window", "longformer", "bigbird", "sparse", "reformer", "state_space"}
"""Variants whose pattern is about distances within one text."""

CLOSE = 1e-3
"""Largest difference between the model's weights and those of the plain product."""


@dataclass(frozen=True, eq=False)
class HeadVectors:
    """Vectors of the heads of one layer on the first `LONGEST` tokens.

    Attributes:
        head: the open head.
        query: of all heads of the layer, [head, query, d].
        key: [head, key, d]; keys that several heads share are repeated.
        value: [head, key, d_value].
        key_heads: number of heads of keys in the model.
        scale: factor of the products in the model.
        causal: whether a query sees earlier keys only.
        same_text: whether queries and keys are the same tokens.
        plain: whether softmax(scale q·k) gives the model's weights; otherwise the model adds a
            bias, a cap or a sink, which is left out here.
    """

    head: Head
    query: Float[np.ndarray, "head query d"]
    key: Float[np.ndarray, "head key d"]
    value: Float[np.ndarray, "head key d_value"]
    key_heads: int
    scale: float
    causal: bool
    same_text: bool
    plain: bool

    def run(self, name: str, head: int | None = None, **options: Any) -> EfficientResult:
        """Run a variant and return its result for one head of the layer.

        Raises:
            InputError: the variant is not possible here.
        """
        at = self.head.head if head is None else head
        causal: dict[str, Any] = {"causal": self.causal, "scale": self.scale}
        if name in ("multi_query", "grouped_query", "latent"):
            result = efficient.run(name, self.query, self.key, self.value, **causal, **options)
            return EfficientResult(
                output=result.output[at],
                weights=result.weights[at],
                computed=result.computed,
                exact=result.exact,
                operations=result.operations // len(self.query),
                numbers_held=result.numbers_held // len(self.query),
                details=result.details,
            )
        query, key, value = self.of_head(at)
        return efficient.run(name, query, key, value, **causal, **options)

    def of_head(self, head: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return queries, keys and values of one head of the layer."""
        return self.query[head], self.key[head], self.value[head]

    def trades(self) -> list[Trade]:
        """Return error and cost of every approximation of the open head."""
        return trades(*self.of_head(self.head.head), causal=self.causal, scale=self.scale)


def head_vectors(stack: AttentionStack, head: Head) -> HeadVectors:
    """Return the vectors of a head and of the other heads of its layer."""
    part = slice(0, LONGEST)
    hidden = np.isneginf(stack.scores(head.layer, head.head, part, part))
    causal = (
        stack.same_text and len(hidden) > 1 and bool(hidden[np.triu_indices(len(hidden), 1)].all())
    )
    heads = stack.shape[1]

    def stacked(vectors: Callable[[int, int], np.ndarray]) -> np.ndarray:
        arrays = np.stack([vectors(head.layer, one)[part] for one in range(heads)])
        return arrays.astype(np.float64)

    layer = stack.layers[head.layer]
    shared = 1 if layer.vectors is None else int(layer.vectors.key.shape[0])
    layer_vectors = HeadVectors(
        head,
        query=stacked(stack.query),
        key=stacked(stack.key),
        value=stacked(stack.value),
        key_heads=shared,
        scale=float(layer.scaling),
        causal=causal,
        same_text=stack.same_text,
        plain=True,
    )
    ours = np.nan_to_num(layer_vectors.run("exact").weights)
    theirs = stack.weights(head.layer, head.head, part, part)
    apart = float(np.abs(ours - theirs).max()) if theirs.shape == ours.shape else float("inf")
    return replace(layer_vectors, plain=apart <= CLOSE)


def possible(variant: Variant, vectors: HeadVectors) -> str:
    """Return why a variant cannot run on these vectors; empty if it can."""
    if vectors.causal and not variant.causal:
        return (
            f"{variant.label} mixes all positions and needs attention in both directions. Choose a "
            "BERT at the left."
        )
    if not vectors.causal and not variant.bidirectional:
        return f"{variant.label} reads from left to right. Choose a GPT at the left."
    if not vectors.same_text and variant.name in SELF_ONLY:
        return f"{variant.label} is for self-attention; in cross-attention there is no distance."
    return ""
