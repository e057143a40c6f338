"""Row of one query: the keys it sees, its scores and its weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from attnviz.errors import InputError
from attnviz.lessons.phrases.named_phrases import shared_phrase
from attnviz.lessons.scene import LessonInput

__all__ = ["MOST_TOKENS", "HeadRow", "head_row"]

MOST_TOKENS = 12
"""Tokens of a sentence in a lesson: as many as fit below each other."""

FEWEST_KEYS = 3
"""Keys that a row needs: fewer leave nothing to predict."""

CLOSE = 1e-4
"""Largest difference between the softmax of the scores and the model's weights."""


@dataclass(frozen=True)
class HeadRow:
    """Row of the sentence's last token.

    Attributes:
        labels: of all tokens, [position].
        query: position of the query.
        keys: positions of the visible keys, [key].
        scores: before the softmax, [key].
        weights: after it, [key].
        order: places among the visible keys, from the largest weight to the smallest.
    """

    labels: tuple[str, ...]
    query: int
    keys: Int[np.ndarray, " key"]
    scores: Float[np.ndarray, " key"]
    weights: Float[np.ndarray, " key"]
    order: Int[np.ndarray, " key"]

    @property
    def key_labels(self) -> tuple[str, ...]:
        """Return the labels of the visible keys."""
        return tuple(self.labels[at] for at in self.keys)


def head_row(given: LessonInput) -> HeadRow:
    """Return the row of the last token that is no special token.

    Raises:
        InputError: fewer than `FEWEST_KEYS` visible keys, or a head whose weights are not the
            softmax of its scores (a learned sink).
    """
    stack, head = given.capture[given.head.kind], given.head
    tokens = stack.query_tokens
    ordinary = np.flatnonzero(~tokens.special)
    query = int(ordinary[-1]) if len(ordinary) else len(tokens) - 1
    row = slice(query, query + 1)
    scores = stack.scores(head.layer, head.head, row)[0]
    keys = np.flatnonzero(np.isfinite(scores))
    if len(keys) < FEWEST_KEYS:
        raise InputError(shared_phrase("few_keys", count=len(keys), needed=FEWEST_KEYS))
    weights = stack.weights(head.layer, head.head, row)[0][keys]
    powers = np.exp(scores[keys].astype(np.float64) - scores[keys].max())
    if np.abs(powers / powers.sum() - weights).max() > CLOSE:
        raise InputError(shared_phrase("sink", head=head.label))
    order = np.argsort(-weights, kind="stable")
    return HeadRow(tokens.labels, query, keys, scores[keys], weights, order)
