"""Numbers of the lesson about queries, keys and values: products of vectors, and one score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float

from attnviz.lessons.head_row import head_row
from attnviz.lessons.phrases.named_phrases import phrases_of
from attnviz.lessons.scene import LessonInput, Scene

__all__ = ["input_vectors", "projection_scenes"]

phrase = phrases_of("projections")

SHOWN = 11
"""Products that have a bar each; the others have one bar together."""


def projection_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes: three matrices of products, and the products of one score.

    The matrices are x·x, q·q and q·k of all tokens, without a mask; x is divided by the square root
    of its length, q and k are scaled as in the model.

    Raises:
        InputError: as `head_row`.
    """
    row = head_row(given)
    head, stack = given.head, given.capture[given.head.kind]
    scale = float(stack.layers[head.layer].scaling)
    query = stack.query(head.layer, head.head).astype(np.float64)
    key = stack.key(head.layer, head.head).astype(np.float64)
    vectors = input_vectors(given)
    matrices = np.stack(
        [
            vectors @ vectors.T / np.sqrt(vectors.shape[1]),
            query @ query.T * scale,
            query @ key.T * scale,
        ]
    )
    apart = np.abs(matrices - matrices.transpose(0, 2, 1))  # [kind, query, key]
    count = len(row.labels)
    most = int(apart[2].argmax())
    first, second = divmod(most, count)
    top = int(row.keys[row.order[0]])
    similar = matrices[0][row.query]
    cell = row.query * count + int(similar.argmax())
    scene = Scene(
        labels={
            "tokens": row.labels,
            "sentence": row.labels,
            "kinds": tuple(phrase(key) for key in ("plain", "shared", "two")),
        },
        arrays={"matrix": matrices, "apart": apart},
        values={
            "query_label": row.labels[row.query],
            "top_label": row.labels[top],
            "likest": row.labels[int(similar.argmax())],
            "here": float(matrices[1][row.query, top]),
            "mirror": float(matrices[1][top, row.query]),
            "lowest": 10 * float(np.floor(matrices[1].min() / 10)),
            "highest": 10 * float(np.ceil(matrices[1].max() / 10)),
            "first": row.labels[first],
            "second": row.labels[second],
            "one_way": float(matrices[2][first, second]),
            "other_way": float(matrices[2][second, first]),
        },
        places={
            "query": row.query,
            "top": top,
            "itself": cell,
            "mirrored": top * count + row.query,
            "proof": most,
        },
    )
    return {
        "plain": scene,
        "shared": scene,
        "two": scene,
        "products": _products(query[row.query] * key[row.keys] * scale, row.key_labels),
    }


def input_vectors(given: LessonInput) -> Float[np.ndarray, "token width"]:
    """Return the vectors that go into the head's layer, each shifted to mean 0 and spread 1.

    They are read from the library's hidden states, in a hybrid before the layer that has the
    attention; a learned gain of the norm is left out.
    """
    ids = torch.tensor([list(given.capture.inputs.ids)])
    with torch.inference_mode():
        states = given.model.network(
            ids, attention_mask=torch.ones_like(ids), output_hidden_states=True
        ).hidden_states
    layer = given.model.info.layers[given.head.kind][given.head.layer]
    vectors = states[layer][0].double().numpy()
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    scaled: np.ndarray = centred / centred.std(axis=1, keepdims=True)
    return scaled


def _products(products: Float[np.ndarray, "key d"], labels: tuple[str, ...]) -> Scene:
    """Return the scene of the products of each key, the largest first."""
    shown, needed = [], []
    names = [f"{rank}." for rank in range(1, SHOWN + 1)]
    for one in products:
        ordered = one[np.argsort(-one if one.sum() > 0 else one)]
        shown.append([*ordered[:SHOWN], ordered[SHOWN:].sum()])
        needed.append(float(np.argmax(np.abs(ordered.cumsum()) >= abs(one.sum()) / 2) + 1))
    sums = products.sum(axis=1)
    order = np.argsort(-sums)
    rest = products.shape[1] - SHOWN
    return Scene(
        labels={
            "ranks": [*names, phrase("others", count=rest)],
            "keys": [labels[at] for at in order],
        },
        arrays={"products": np.array(shown)[order]},
        values={
            "needed": [needed[at] for at in order],
            "score": [float(sums[at]) for at in order],
            "half": [float(sums[at]) / 2 for at in order],
            "dimensions": float(products.shape[1]),
            "best_key": labels[int(order[0])],
            "best_score": float(sums[order[0]]),
        },
        places={"first": 0},
    )
