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
from attnviz.lessons.scene import LessonInput, Scene
from attnviz.models import Model
from attnviz.types import Head

__all__ = ["routing_scenes"]

SHOWN = 6
"""Next tokens that are shown, the likeliest first; the others are one row."""


def routing_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes: one row as weights and as added vectors; predictions without heads.

    Raises:
        InputError: as `head_row`; or the output of the head cannot be followed to the stream.
    """
    return {"values": _added(given), **_removed(given)}


def _added(given: LessonInput) -> Scene:
    """Return the weights of the last row, and the length of what each token adds, as shares."""
    row, head = head_row(given), given.head
    projection = HookedModel.of(given.model).projections()[head.kind][head.layer]
    if projection is None:
        raise InputError(f"the output of {head.label} cannot be followed; choose another model")
    values = given.capture[head.kind].value(head.layer, head.head)[row.keys]
    matrix = projection[head.head].detach().double().cpu().numpy()
    sizes = np.linalg.norm(values.astype(np.float64) @ matrix, axis=1)  # [key]
    added = row.weights * sizes
    shares = added / added.sum()
    lead = int(shares.argmax())
    return Scene(
        labels={"keys": row.key_labels, "sentence": row.labels},
        arrays={"weights": row.weights, "sizes": sizes / sizes.max(), "shares": shares},
        values={
            "query_label": row.labels[row.query],
            "head": head.label,
            "moved": float(np.abs(shares - row.weights).sum() / 2),
            "relative": float(sizes[row.order[0]] / sizes.max()),
        },
        places={"query": row.query, "top": int(row.order[0]), "lead": lead},
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
    heads = [Head(head.kind, head.layer, at) for at in range(stack.shape[1])]
    before = next_token_probabilities(model, ids)
    without = []
    for one in heads:
        with edited(model, [Edit("zero", one)]):
            without.append(next_token_probabilities(model, ids))
    effects = np.array([np.abs(after - before).sum() / 2 for after in without])
    largest = np.array([stack.weights(one.layer, one.head, row).max() for one in heads])
    names = [one.label for one in heads]
    return {
        "removed": _predictions(model, head, names, before, without, effects, last, tokens.labels),
        "compare": _compared(names, head.layer, largest, effects, last, tokens.labels),
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
            "tokens": (*labels, "all others"),
            "frames": ("no head", *names),
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
    names: Sequence[str],
    layer: int,
    largest: Float[np.ndarray, " head"],
    effects: Float[np.ndarray, " head"],
    last: int,
    sentence: Sequence[str],
) -> Scene:
    """Return the largest weight of each head's row, and the effect of its removal."""
    best, sharpest = int(effects.argmax()), int(largest.argmax())
    return Scene(
        labels={"heads": names, "sentence": sentence},
        arrays={"largest": largest, "effects": effects},
        values={
            "layer": float(layer),
            "correlation": _rank_correlation(largest, effects),
        },
        places={"query": last, "best": best, "sharpest": sharpest},
    )


def _with_others(shares: Float[np.ndarray, " token"]) -> Float[np.ndarray, " row"]:
    return np.append(shares, max(0.0, 1 - float(shares.sum())))


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's correlation: that of the ranks; equal numbers are ranked as they come."""
    ranks = np.argsort(np.argsort(np.stack([first, second]), axis=1), axis=1)
    first, second = ranks - ranks.mean(axis=1, keepdims=True)
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))
