"""Numbers of the lesson about several heads: their patterns, their average, and their sum."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnviz.attention import AttentionStack
from attnviz.captures.forward_pass import Capture, capture
from attnviz.experiments.edits.edit_rules import Edit
from attnviz.experiments.edits.edited_model import edited
from attnviz.lessons.heads.next_token import next_token_probabilities
from attnviz.lessons.phrases.named_phrases import phrases_of
from attnviz.lessons.scene import LessonInput, Scene
from attnviz.models import Model
from attnviz.types import Head

__all__ = ["heads_scenes", "pattern_scores"]

phrase = phrases_of("heads")

ENCODER, DECODER = "bert-classroom", "gpt-classroom"

NAMES = ("before", "after", "itself", "first", "ends", "copies", "even", "earlier")
"""Phrases of patterns in the order of `pattern_scores`; each gets the head that has most of it."""

AVERAGED_LAYER, SUMMED_LAYER = 0, 1
"""Layers of the decoder whose heads are averaged, and whose outputs are summed."""

ENTRIES = 6
"""Entries of the layer's output that are shown."""


def heads_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes: an encoder's patterns, and a decoder's average and sum of heads."""
    model = given.load(DECODER)
    read = capture(model, given.capture.text)
    return {
        "names": _named_heads(capture(given.load(ENCODER), given.capture.text, predict=False)),
        "average": _averaged_heads(model, read),
        "sum": _summed_heads(model, read["self"]),
    }


def pattern_scores(
    weights: Float[np.ndarray, "query key"], ids: Int[np.ndarray, " position"]
) -> Float[np.ndarray, " pattern"]:
    """Return how much of each pattern of `NAMES` a map has, from 0 to 1; means over the rows.

    Evenness is the entropy divided by that of equal weights; the others are shares of the weight.
    """
    count = len(ids)
    at = np.arange(count)
    away = at[:, None] - at
    copies = (ids[:, None] == ids) & (away != 0)
    first = np.broadcast_to(at == 0, away.shape)
    ends = first | (at == count - 1)
    inner = slice(1, count - 1)  # rows of the special tokens at both ends do not count
    shares = [
        (weights * (away == 1))[inner],
        (weights * (away == -1))[inner],
        (weights * (away == 0))[inner],
        (weights * first)[inner],
        2 * np.minimum((weights * first).sum(1), (weights * (at == count - 1)).sum(1))[inner, None],
        (weights * copies)[copies.any(1)],
        -(weights * np.log(np.maximum(weights, 1e-30)))[inner] / np.log(count),
        (weights * ((away > 1) & ~ends))[3 : count - 1],
    ]
    return np.array([share.sum(1).mean() if len(share) else 0.0 for share in shares])


def _named_heads(read: Capture) -> Scene:
    """Return eight heads of the encoder, one for each pattern, in the order of layer and head."""
    stack = read["self"]
    layers, heads = stack.shape[:2]
    places = [(layer, head) for layer in range(layers) for head in range(heads)]
    ids = stack.query_tokens.ids
    scores = np.array([pattern_scores(stack.weights(*place), ids) for place in places])
    chosen: dict[int, int] = {}
    for pattern in range(len(NAMES)):
        free = [at for at in range(len(places)) if at not in chosen.values()]
        chosen[pattern] = max(free, key=lambda at: float(scores[at, pattern]))
    order = sorted(chosen, key=lambda pattern: chosen[pattern])
    shown = [places[chosen[pattern]] for pattern in order]
    shares = np.array([scores[chosen[pattern], pattern] for pattern in order])
    return Scene(
        labels={
            "heads": [f"L{layer}·H{head}" for layer, head in shown],
            "names": tuple(phrase(name) for name in NAMES),
            "sentence": stack.query_tokens.labels,
        },
        arrays={
            "maps": np.stack([stack.weights(*place) for place in shown]),
            "patterns": np.array(order, float),
            "shares": shares,
        },
        places={"before": order.index(0), "purest": int(shares.argmax())},
    )


def _averaged_heads(model: Model, read: Capture) -> Scene:
    """Return the last row of a previous-token head and of the average, and both predictions."""
    stack = read["self"]
    heads = stack.shape[1]
    maps = np.stack([stack.weights(AVERAGED_LAYER, head) for head in range(heads)])
    mean = maps.mean(0)
    query = stack.shape[2] - 1
    head = int(maps[:, query, query - 1].argmax())
    rows = tuple((at, tuple(float(one) for one in row[: at + 1])) for at, row in enumerate(mean))
    edits = [Edit("rows", Head("self", AVERAGED_LAYER, at), rows=rows) for at in range(heads)]
    before = next_token_probabilities(model, stack.query_tokens.ids)
    with edited(model, edits):
        after = next_token_probabilities(model, stack.query_tokens.ids)
    top = int(before.argmax())
    labels = stack.query_tokens.labels
    return Scene(
        labels={
            "keys": labels,
            "sentence": labels,
            "frames": (phrase("eight_heads"), phrase("their_average")),
        },
        arrays={"row": maps[head, query], "average": mean[query]},
        values={
            "head": f"L{AVERAGED_LAYER}·H{head}",
            "token": model.tokenizer.decode([top]).strip(),
            "chance": [float(before[top]), float(after[top])],
            "kept": float(before[top]),
            "lost": float(after[top]),
            "single": float(maps[head, query, query - 1]),
            "mean": float(mean[query, query - 1]),
        },
        places={"query": query, "before": query - 1},
    )


def _summed_heads(model: Model, stack: AttentionStack) -> Scene:
    """Return what each head adds to the layer's output, [left out, head and sum, entry].

    Frame 0 has all heads; frame h + 1 leaves out head h. The last row is the sum with the bias.
    """
    heads = stack.shape[1]
    projection = model.network.transformer.h[SUMMED_LAYER].attn.c_proj
    matrix: Tensor = projection.weight.detach().double().cpu()  # [head and dimension, out]
    bias: Tensor = projection.bias.detach().double().cpu()
    query = slice(stack.shape[2] - 1, stack.shape[2])
    parts = []
    for head in range(heads):
        weights = stack.weights(SUMMED_LAYER, head, query)[0].astype(np.float64)
        mixture = torch.from_numpy(weights @ stack.value(SUMMED_LAYER, head).astype(np.float64))
        width = len(mixture)
        parts.append((mixture @ matrix[head * width : (head + 1) * width]).numpy())
    frames = []
    for left_out in range(-1, heads):
        kept = [part * (at != left_out) for at, part in enumerate(parts)]
        frames.append([*kept, np.sum(kept, axis=0) + bias.numpy()])
    whole = np.array(frames)
    sizes = np.linalg.norm(np.array(parts), axis=1)
    largest = np.argsort(-np.abs(whole[0, -1]))[:ENTRIES]
    entries = np.sort(largest)
    names = [f"L{SUMMED_LAYER}·H{head}" for head in range(heads)]
    shown = whole[:, :, entries]
    first = float(bias.numpy()[entries[0]])
    bound = 10 * float(np.ceil((np.abs(shown[0, :-1, 0]).sum() + abs(first)) / 10))
    return Scene(
        labels={
            "rows": [*names, phrase("sum")],
            "entries": [phrase("entry", number=at) for at in entries],
            "left_out": (phrase("none"), *names),
        },
        arrays={"outputs": shown},
        values={
            "whole": shown[:, -1, 0].tolist(),
            "truth": float(shown[0, -1, 0]),
            "bias": first,
            "lowest": -bound,
            "highest": bound,
            "long": names[int(sizes.argmax())],
            "longest": float(sizes.max()),
            "change": [
                float(np.linalg.norm(one[-1] - whole[0, -1]) / np.linalg.norm(whole[0, -1]))
                for one in whole
            ],
        },
        places={"sum": heads, "first_sum": heads * ENTRIES},
    )
