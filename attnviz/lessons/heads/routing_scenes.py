"""Numbers of the lesson about weights and effects: what a head reads, adds, and changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from attnviz.errors import InputError
from attnviz.experiments.edits.edit_rules import Edit
from attnviz.experiments.edits.edited_model import edited
from attnviz.experiments.hooked_model import HookedModel
from attnviz.lessons.head_row import head_row
from attnviz.lessons.heads.next_token import next_token_probabilities
from attnviz.lessons.phrases.named_phrases import phrases_of
from attnviz.lessons.scene import LessonInput, Scene
from attnviz.models import Model
from attnviz.types import Head

__all__ = ["routing_scenes"]

phrase = phrases_of("routing")

MOST_HEADS = 64
"""Heads that are removed one after the other: of a larger model, those of one layer alone."""

SHOWN = 6
"""Next tokens that are shown, the likeliest first; the others are one row."""


def routing_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes: one row as weights and as added vectors; predictions without heads.

    Raises:
        InputError: as `head_row`; or the output of the head cannot be followed to the stream.
    """
    return {"values": _added(given), **_removed(given)}


def _added(given: LessonInput) -> Scene:
    """Return the last row's weights, and the length of what each token adds, [head, key].

    The frames are the heads of the layer.
    """
    row, head = head_row(given), given.head
    stack = given.capture[head.kind]
    projection = HookedModel.of(given.model).projections()[head.kind][head.layer]
    if projection is None:
        raise InputError(phrase("not_followed", head=head.label))
    heads = [Head(head.kind, head.layer, at) for at in range(stack.shape[1])]
    weights, sizes = [], []
    for one in heads:
        values = stack.value(one.layer, one.head)[row.keys].astype(np.float64)
        matrix = projection[one.head].detach().double().cpu().numpy()
        sizes.append(np.linalg.norm(values @ matrix, axis=1))  # [key]
        last = slice(row.query, row.query + 1)
        weights.append(stack.weights(one.layer, one.head, last)[0][row.keys])
    added = np.array(weights) * np.array(sizes)
    shares = added / added.sum(axis=1, keepdims=True)
    relative = np.array(sizes) / np.max(sizes, axis=1, keepdims=True)
    top = int(row.order[0])
    return Scene(
        labels={
            "keys": row.key_labels,
            "sentence": row.labels,
            "heads": [one.label for one in heads],
        },
        arrays={"weights": np.array(weights), "sizes": relative, "shares": shares},
        values={
            "query_label": row.labels[row.query],
            "head": head.label,
            "moved": float(np.abs(shares[head.head] - row.weights).sum() / 2),
            "relative": float(relative[head.head, top]),
            "top_weight": float(row.weights[top]),
            "top_share": float(shares[head.head, top]),
        },
        places={"query": row.query, "top": top, "here": head.head},
    )


def _removed(given: LessonInput) -> Mapping[str, Scene]:
    """Return next tokens' probabilities without each head of the layer, and what changes.

    Frame 0 has all heads; frame h + 1 has zeros in place of the output of head h. The effect of a
    removal is the total variation between the probabilities with and without the head.
    """
    model, head = given.model, given.head
    stack = given.capture[head.kind]
    tokens = stack.query_tokens
    last = head_row(given).query
    row = slice(last, last + 1)
    ids = tokens.ids[: last + 1]
    layers, count = stack.shape[:2]
    shown = range(layers) if layers * count <= MOST_HEADS else (head.layer,)
    before = next_token_probabilities(model, ids)
    largest, effects = [], []
    here: list[Float[np.ndarray, " token"]] = []
    for layer in shown:
        without = []
        for one in range(count):
            with edited(model, [Edit("zero", Head(head.kind, layer, one))]):
                without.append(next_token_probabilities(model, ids))
        here = without if layer == head.layer else here
        effects.append([float(np.abs(after - before).sum() / 2) for after in without])
        largest.append([float(stack.weights(layer, one, row).max()) for one in range(count)])
    names = [Head(head.kind, head.layer, at).label for at in range(count)]
    frame = list(shown).index(head.layer)
    return {
        "removed": _predictions(
            model, head, names, before, here, np.array(effects[frame]), last, tokens.labels
        ),
        "compare": _compared(
            list(shown), frame, np.array(largest), np.array(effects), last, tokens.labels
        ),
    }


def _predictions(
    model: Model,
    head: Head,
    names: Sequence[str],
    before: Float[np.ndarray, " token"],
    without: Sequence[Float[np.ndarray, " token"]],
    effects: Float[np.ndarray, " head"],
    last: int,
    sentence: Sequence[str],
) -> Scene:
    """Return the likeliest next tokens with all heads and without one, [frame, token]."""
    likeliest = np.argsort(-before)[:SHOWN]
    shown = np.array([_with_others(one[likeliest]) for one in (before, *without)])
    labels = [model.tokenizer.decode([int(at)]).strip() or "␣" for at in likeliest]
    return Scene(
        labels={
            "tokens": (*labels, phrase("all_others")),
            "frames": (phrase("no_head"), *names),
            "sentence": sentence,
        },
        arrays={"before": shown[0], "without": shown},
        values={
            "head": head.label,
            "token": labels[0],
            "effect": [0.0, *effects.tolist()],
            "here": float(effects[head.head]),
            "chance": shown[:, 0].tolist(),
        },
        places={"query": last, "removed": head.head + 1},
    )


def _compared(
    layers: Sequence[int],
    frame: int,
    largest: Float[np.ndarray, "layer head"],
    effects: Float[np.ndarray, "layer head"],
    last: int,
    sentence: Sequence[str],
) -> Scene:
    """Return the largest weight of each row, and the effect of a removal, [layer, head]."""
    best, sharpest = int(effects[frame].argmax()), int(largest[frame].argmax())
    return Scene(
        labels={
            "heads": [phrase("head", number=at) for at in range(largest.shape[1])],
            "layers": [phrase("layer", number=layer) for layer in layers],
            "sentence": sentence,
        },
        arrays={"largest": largest, "effects": effects},
        values={
            "layer": float(layers[frame]),
            "best_effect": float(effects[frame, best]),
            "best_largest": float(largest[frame, best]),
            "sharpest_effect": float(effects[frame, sharpest]),
            "correlation": [
                _rank_correlation(*pair) for pair in zip(largest, effects, strict=True)
            ],
        },
        places={"query": last, "best": best, "sharpest": sharpest, "here": frame},
    )


def _with_others(shares: Float[np.ndarray, " token"]) -> Float[np.ndarray, " row"]:
    return np.append(shares, max(0.0, 1 - float(shares.sum())))


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's correlation: that of the ranks; equal numbers are ranked as they come."""
    ranks = np.argsort(np.argsort(np.stack([first, second]), axis=1), axis=1)
    first, second = ranks - ranks.mean(axis=1, keepdims=True)
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))
