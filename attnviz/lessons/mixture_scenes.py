"""Numbers of the lesson about the weighted sum: values as arrows, and an empty weight."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from attnviz.lessons.head_row import head_row
from attnviz.lessons.scene import LessonInput, Scene
from attnviz.types import Head

__all__ = ["in_the_plane", "mixture_scenes"]


def mixture_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes: the values of a row in a plane, and the row with the emptiest weight.

    The weighted sum is linear, so it lies in the plane where the weighted sum of the arrows does.

    Raises:
        InputError: as `head_row`.
    """
    row = head_row(given)
    stack, head = given.capture[given.head.kind], given.head
    values = stack.value(head.layer, head.head)[row.keys].astype(np.float64)
    top = int(row.order[0])
    points, kept = in_the_plane(values, top)
    shared = Scene(
        labels={"keys": row.key_labels, "sentence": row.labels},
        arrays={"points": points, "scores": row.scores, "weights": row.weights},
        values={
            "query_label": row.labels[row.query],
            "kept": kept * 100,
            "dimensions": float(values.shape[1]),
        },
        places={"query": row.query, "top": top, "second": int(row.order[1])},
    )
    return {"sum": shared, "even": shared, "empty": _emptiest(given)}


def in_the_plane(
    vectors: Float[np.ndarray, "key d"], first: int
) -> tuple[Float[np.ndarray, "key 2"], float]:
    """Return vectors in a plane through the origin, and the share of the squares it keeps.

    The plane holds the vector `first` and, of all such planes, keeps most of the others.
    """
    along = vectors[first] / np.linalg.norm(vectors[first])
    rest = vectors - np.outer(vectors @ along, along)
    across = np.linalg.svd(rest, full_matrices=False)[2][0]
    points: np.ndarray = vectors @ np.stack([along, across], axis=1)
    return points, float((points**2).sum() / (vectors**2).sum())


def _emptiest(given: LessonInput) -> Scene:
    """Return the row in which a weight is most above its share of what arrives, [head, key].

    The share of a key is its weight times the length of its value, over the sum of these. The
    frames are the heads of the layer.
    """
    stack = given.capture[given.head.kind]
    layers, heads = stack.shape[:2]
    rows = []
    for layer in range(layers):
        for head in range(heads):
            weights = stack.weights(layer, head).astype(np.float64)
            lengths = np.linalg.norm(stack.value(layer, head).astype(np.float64), axis=1)
            shares = weights * lengths
            shares /= shares.sum(axis=1, keepdims=True)
            apart = weights - shares
            apart[:2] = 0.0  # with one or two visible keys there is nothing to compare
            query = int(apart.max(axis=1).argmax())
            address = Head(given.head.kind, layer, head)
            rows.append((apart[query].max(), address, query, weights, lengths, shares))
    _, address, query, weights, lengths, shares = max(rows, key=lambda one: one[0])
    scores = stack.scores(address.layer, address.head, slice(query, query + 1))[0]
    keys = np.flatnonzero(np.isfinite(scores))
    labels = [stack.key_tokens.labels[at] for at in keys]
    empty = int((weights - shares)[query, keys].argmax())
    same = [one[3:] for one in rows if one[1].layer == address.layer]  # every head of the layer
    all_weights, all_shares = (np.array([one[at][query, keys] for one in same]) for at in (0, 2))
    all_lengths = np.array([one[1][keys] for one in same])
    return Scene(
        labels={
            "keys": labels,
            "heads": [Head(address.kind, address.layer, at).label for at in range(heads)],
        },
        arrays={"weights": all_weights, "lengths": all_lengths, "shares": all_shares},
        values={
            "row_head": address.label,
            "row_query": stack.query_tokens.labels[query],
            "empty_weight": float(weights[query, keys][empty]),
            "empty_share": float(shares[query, keys][empty]),
            "empty_length": float(lengths[keys][empty]),
        },
        places={"empty": empty, "here": address.head},
    )
