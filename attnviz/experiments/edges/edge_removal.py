"""Measured effect of removing an edge: the model is run without it.

Removed is what the edge brings: A_ij v_j is subtracted from the head's output at query i. The other
weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from attnviz.attention.call_changes import changing
from attnviz.errors import InputError
from attnviz.experiments.edges.one_head import OneHead, copies_at_once, weights_of
from attnviz.experiments.patching.text_pair import check_position, logits_of
from attnviz.experiments.prediction_divergence import prediction_divergence
from attnviz.models import Encoded, Model
from attnviz.types import Head

__all__ = ["Edge", "RemovedEdges", "remove_edges"]

Edge = tuple[int, int]
"""Query and key."""


@dataclass(frozen=True)
class RemovedEdges:
    """Effects of removing edges, one at a time, on the prediction at one position.

    Attributes:
        divergence: KL(with || without) of the prediction, nats.
        loss: fall of the log-probability of the token that the model predicts, nats.
    """

    divergence: Float[np.ndarray, " edge"]
    loss: Float[np.ndarray, " edge"]


def remove_edges(
    model: Model,
    encoded: Encoded,
    head: Head,
    edges: Sequence[Edge],
    position: int = -1,
    *,
    progress: Callable[[float], None] | None = None,
) -> RemovedEdges:
    """Run a model without each of some edges, and return what happens to a prediction.

    >>> import attnviz
    >>> from attnviz.experiments.edges.edge_removal import remove_edges
    >>> from attnviz.models import encode
    >>> from attnviz.types import Head
    >>> model = attnviz.load("gpt-classroom")
    >>> text = encode(model, "The red dog saw the blue bird. The red")
    >>> removed = remove_edges(model, text, Head("self", 0, 7), [(3, 2), (3, 0)])
    >>> bool(removed.divergence[0] > 100 * removed.divergence[1])
    True

    Args:
        model: with a trained language head.
        encoded: a text, with a target for an encoder-decoder.
        head: whose edges.
        edges: pairs of query and key.
        position: position whose prediction is compared.
        progress: callback for the finished share. It may raise to cancel.

    Raises:
        InputError: as `weights_of`; the model predicts no tokens; no such edge or position.
    """
    check_position(model, encoded, position)
    weights = weights_of(model, encoded, head)
    queries, keys = weights.shape
    for query, key in edges:
        if not (0 <= query < queries and 0 <= key < keys):
            raise InputError(f"there is no edge from key {key} to query {query}")
    plain = logits_of(model, encoded)[0, position].float().log_softmax(-1)
    best = int(plain.argmax())
    divergence, loss = np.zeros(len(edges)), np.zeros(len(edges))
    room = copies_at_once(encoded)
    for start in range(0, len(edges), room):
        group = edges[start : start + room]

        def change(output: Tensor, values: Tensor, group: Sequence[Edge] = group) -> Tensor:
            changed = output.clone()
            for copy, (query, key) in enumerate(group):
                changed[copy, query] -= weights[query, key] * values[copy, key]
            return changed

        with changing(OneHead(model.sites.places(), head, change)):
            rows = logits_of(model, encoded, len(group))[:, position].float().log_softmax(-1)
        stop = start + len(group)
        divergence[start:stop] = prediction_divergence(plain.expand_as(rows), rows).cpu().numpy()
        loss[start:stop] = (plain[best] - rows[:, best]).double().cpu().numpy()
        if progress is not None:
            progress(stop / len(edges))
    return RemovedEdges(divergence, loss)
