"""Numbers of the lesson about the weighted sum: values as arrows, and weights on short values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from attnviz.lessons.head_row import head_row
from attnviz.lessons.scene import LessonInput, Scene
from attnviz.types import Head

__all__ = ["LARGE_WEIGHT", "SHORTENED", "in_the_plane", "mixture_scenes"]

LARGE_WEIGHT = 0.9
"""The row whose largest weight is nearest to this is the one whose value is shortened."""

SHORTENED = 0.1
"""Part of its length that the value keeps in the prediction."""


def mixture_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes: the values of a row in a plane, and two rows of any head.

    One has the emptiest weight; the value of the other's largest weight is shortened.

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
            "kept": kept,
            "dimensions": float(values.shape[1]),
        },
        places={"query": row.query, "top": top, "second": int(row.order[1])},
    )
    return {
        "sum": shared,
        "even": shared,
        "empty": _emptiest(given),
        "shorten": _shortened(given),
    }


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


def _shortened(given: LessonInput) -> Scene:
    """Return the row with a weight near `LARGE_WEIGHT`: weights [key], values [key, d], lengths.

    The browser multiplies the value of the largest weight, and computes shares and output anew.
    Kobayashi et al. (2020) measure weight times length; their vectors have passed the output
    projection as well, as in the lesson about routing.
    """
    stack = given.capture[given.head.kind]
    layers, heads = stack.shape[:2]
    places = [(layer, head) for layer in range(layers) for head in range(heads)]
    largest = np.array([stack.weights(*place).max(axis=1) for place in places])  # [head, query]
    apart = np.abs(largest.astype(np.float64) - LARGE_WEIGHT)
    apart[:, :2] += 1.0  # with one or two visible keys there is nothing to compare
    at, query = (int(one) for one in np.unravel_index(apart.argmin(), apart.shape))
    layer, head = places[at]
    row = slice(query, query + 1)
    keys = np.flatnonzero(np.isfinite(stack.scores(layer, head, row)[0]))
    weights = stack.weights(layer, head, row)[0][keys].astype(np.float64)
    values = stack.value(layer, head)[keys].astype(np.float64)
    top = int(weights.argmax())
    lengths = np.linalg.norm(values, axis=1)
    parts = weights * lengths
    rest = parts.sum() - parts[top]
    return Scene(
        labels={"keys": [stack.key_tokens.labels[one] for one in keys]},
        arrays={
            "weights": weights,
            "values": values,
            "lengths": lengths,
            "shares": parts / parts.sum(),
        },
        values={
            "row_head": Head(given.head.kind, layer, head).label,
            "row_query": stack.query_tokens.labels[query],
            "large_weight": float(weights[top]),
            "share_before": float(parts[top] / parts.sum()),
            "share_after": float(SHORTENED * parts[top] / (SHORTENED * parts[top] + rest)),
            "factor": SHORTENED,
        },
        places={"shortened": top},
    )
