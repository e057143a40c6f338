"""Scores and weights of a rectangle of one head's map, computed from the recorded vectors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.attention.kernel.score_terms import ScoreTerms, attention_scores
from attnviz.attention.stack.layer import Layer, Vectors

__all__ = ["HeadTile", "group_of"]


def group_of(vectors: Vectors, head: int) -> int:
    """Return the key head that a query head uses."""
    return head * vectors.key.shape[0] // vectors.query.shape[0]


@dataclass(frozen=True)
class HeadTile:
    """Rectangle of the map of one head; the numbers of `scores` are overwritten by its methods.

    Attributes:
        scores: before the mask.
        rows: queries.
        columns: keys.
    """

    layer: Layer
    vectors: Vectors
    head: int
    rows: slice
    columns: slice
    scores: Float[Tensor, "query key"]

    @classmethod
    def of(
        cls,
        layer: Layer,
        vectors: Vectors,
        head: int,
        rows: slice,
        columns: slice,
        buffer: Float[Tensor, " size"] | None = None,
    ) -> HeadTile:
        """Compute the scores of a rectangle on the device of the vectors; in `buffer` if given."""
        bias = None
        if vectors.bias is not None:
            bias_head = head if vectors.bias.heads > 1 else 0
            bounds = rows.start, rows.stop, columns.start, columns.stop
            bias = vectors.bias.block(*bounds, bias_head)[None, None]
        with torch.inference_mode():
            scores = attention_scores(
                vectors.query[None, head, None, rows],
                vectors.key[None, group_of(vectors, head), None, columns],
                ScoreTerms(layer.scaling, layer.softcap, bias),
                out=buffer,
            )
        return cls(layer, vectors, head, rows, columns, scores[0, 0])

    def masked_scores(self) -> Float[Tensor, "query key"]:
        """Set the scores of invisible keys to -inf; return all."""
        return self._fill_hidden(-torch.inf)

    def weights(self) -> Float[Tensor, "query key"]:
        """Replace the scores by weights, 0 at invisible keys; return them."""
        self.weigh(self.scores)
        return self._fill_hidden(0.0)

    def weigh(self, scores: Float[Tensor, "query key"]) -> Float[Tensor, "query key"]:
        """Turn scores of the tile's rows into weights, in place; return them."""
        normalizer = self.vectors.normalizer
        highest = normalizer.highest[self.head, self.rows, None].to(scores.device)
        total = normalizer.total[self.head, self.rows, None].to(scores.device)
        with torch.inference_mode():
            return scores.sub_(highest).exp_().div_(total)

    def _fill_hidden(self, hidden: float) -> Float[Tensor, "query key"]:
        """Set the numbers at invisible keys, in place; return all."""
        rule = self.layer.visibility.on(self.scores.device)
        start, end, first = self.rows.start, self.rows.stop, self.columns.start
        with torch.inference_mode():
            for left, right in rule.masked_ranges(start, end, first, self.columns.stop):
                visible = rule.table(start, end, left, right)[0]
                self.scores[:, left - first : right - first].masked_fill_(~visible, hidden)
        return self.scores
