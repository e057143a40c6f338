"""Numbers of the lesson about efficient attention: fewer pairs, tiles, and another model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float

from attnviz import efficient
from attnviz.attention import AttentionStack
from attnviz.captures.forward_pass import capture
from attnviz.efficient.costs import cost
from attnviz.efficient.methods.sparse_patterns import (
    bigbird_mask,
    longformer_mask,
    longformer_pairs,
    window_mask,
)
from attnviz.efficient.variant_errors import difference
from attnviz.experiments.text_sets import bundled
from attnviz.lessons.head_row import HeadRow, head_row
from attnviz.lessons.masked_run import run_under
from attnviz.lessons.phrases.named_phrases import phrases_of
from attnviz.lessons.scene import LessonInput, Scene
from attnviz.lessons.word_places import relative_change
from attnviz.models import Model
from attnviz.types import Head
from attnviz.written_numbers import percent, significant

__all__ = ["efficient_scenes"]

phrase = phrases_of("efficient")

LENGTHS = (8_000, 16_000, 32_000, 64_000, 128_000)
"""Tokens of the texts whose pairs are counted."""

WIDE = 4096
"""Window of the counted texts: that of Mistral 7B (Jiang et al. 2023)."""

ENCODER, ENCODER_TEXT, ENCODER_HEAD = "bert-classroom", "The dog saw it.", (1, 2)
"""Longformer and BigBird are encoders, and so is the model of their step."""

LONG_WINDOW = 512
"""Window of Longformer (Beltagy et al. 2020)."""

DECODER, WINDOWS, NARROW = "gpt-classroom", (2, 3, 4, 6), 1
"""Model and windows of the step about layers, and the place of the predicted window."""

WIDTHS = (0, 32, 16, 8, 4)
"""Windows over the two heads; 0 for all pairs."""

TAKEN = 3
"""Place in `WIDTHS` of the predicted window, 8 tokens."""


def efficient_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes: counted pairs, patterns, reach, two heads, tiles, linear attention.

    Raises:
        InputError: as `head_row`.
    """
    row = head_row(given)
    return {
        "wall": _pairs(),
        "pattern": _patterns(given.load(ENCODER)),
        "reach": _reached(given.load(DECODER), given.capture.text),
        "hard": _two_heads(given),
        "fold": _fold(row, given.head.label),
        "linear": _linear(given, row),
    }


def _pairs() -> Scene:
    """Return the scores per head and layer in billions, [pattern, length]."""
    patterns = {
        phrase("all_pairs"): [cost("exact", n, d=1, causal=False).pairs for n in LENGTHS],
        phrase("causal_mask"): [cost("exact", n, d=1).pairs for n in LENGTHS],
        phrase("wide_window", tokens=f"{WIDE:,}"): [
            cost("window", n, d=1, window=WIDE).pairs for n in LENGTHS
        ],
        phrase("blocks", size=64): [
            cost("bigbird", n, d=1, causal=False, block=64).pairs for n in LENGTHS
        ],
    }
    pairs = np.array(list(patterns.values()), dtype=float)
    return Scene(
        labels={"lengths": [f"{one:,}" for one in LENGTHS], "patterns": tuple(patterns)},
        arrays={"billions": pairs / 1e9},
        values={
            "longest": float(LENGTHS[-1]),
            "all": pairs[0, -1],
            "pairs": np.round(pairs[:, -1]).tolist(),
            "gigabytes": (2 * pairs[:, -1] / 1e9).tolist(),
            "first_pairs": pairs[0, 0] / 1e9,
            "last_pairs": pairs[0, -1] / 1e9,
            "longer": LENGTHS[-1] / LENGTHS[0],
            "times": float((LENGTHS[-1] / LENGTHS[0]) ** 2),
        },
        places={"first": 0, "later": len(LENGTHS) - 2, "last": len(LENGTHS) - 1},
    )


def _patterns(model: Model) -> Scene:
    """Return an encoder's weights under each pattern, [pattern, query, key]; NaN: no score."""
    stack = capture(model, ENCODER_TEXT, predict=False)["self"]
    weights = stack.weights(*ENCODER_HEAD)
    count = len(weights)
    masks = {
        phrase("all_pairs"): np.ones((count, count), bool),
        phrase("window"): window_mask(count, count, 2, causal=False).numpy(),
        "Longformer": longformer_mask(count, 2, (0,), causal=False).numpy(),
        "BigBird": bigbird_mask(count, 1, 3, 1, 1, seed=0).numpy(),
    }
    shown = np.stack([np.where(mask, weights, np.nan) for mask in masks.values()])
    lost = [float(np.where(mask, 0, weights).sum(1).mean()) for mask in masks.values()]
    long_share = longformer_pairs(WIDE, LONG_WINDOW, 1) / WIDE**2
    return Scene(
        labels={"tokens": stack.query_tokens.labels, "patterns": tuple(masks)},
        arrays={"weights": shown, "longformer": masks["Longformer"].astype(float)},
        values={
            "pairs": [float(mask.sum()) for mask in masks.values()],
            "all": float(count**2),
            "lost": [percent(float(one)) for one in lost],
            "long_share": percent(float(long_share)),
        },
        places={"first": 0, "longformer": 2},
    )


def _reached(model: Model, text: str) -> Scene:
    """Return how much each token changes the last one's vector, [window, token, layer].

    Every query sees the last keys, as many as the window has. One token is replaced at a time.
    """
    tokens = capture(model, text, predict=False)["self"].query_tokens
    ids, count = list(tokens.ids), len(tokens.ids)
    changed = torch.tensor([ids] * (count + 1))  # the last row stays as it is
    for at in range(count):
        changed[at, at] = ids[(at + 1) % count] if ids[(at + 1) % count] != ids[at] else ids[0]
    changes = []
    for window in WINDOWS:
        visible = window_mask(count, count, window, causal=True)
        vectors = _vectors_under(model, changed, visible)  # (layer, text, width)
        changes.append(
            [relative_change(layer[-1:].expand_as(layer[:-1]), layer[:-1]) for layer in vectors]
        )
    layers = len(changes[0])
    return Scene(
        labels={
            "tokens": tokens.labels,
            "layers": [
                phrase("one_layer"),
                *(phrase("layers", count=at) for at in range(2, layers + 1)),
            ],
            "windows": [phrase("tokens", count=window) for window in WINDOWS],
        },
        arrays={"changes": np.swapaxes(np.array(changes), 1, 2)},
        values={
            "window": [float(window) for window in WINDOWS],
            "step": [float(window - 1) for window in WINDOWS],
            "layers": float(layers),
            "far": [float((window - 1) * layers) for window in WINDOWS],
            "mistral": float(32 * (WIDE - 1)),
        },
        places={"last": count - 1, "narrow": NARROW},
    )


def _vectors_under(
    model: Model, ids: torch.Tensor, visible: Bool[torch.Tensor, "query key"]
) -> list[Float[torch.Tensor, "text width"]]:
    """Return the last token's vector after each layer, where each query sees the keys given."""
    run = run_under(model, ids, visible, output_hidden_states=True)
    return [layer[:, -1] for layer in run.hidden_states[1:]]


def _two_heads(given: LessonInput) -> Scene:
    """Return maps and errors of two heads of the layer under windows, [window, head, …]."""
    head = given.head
    stack = capture(given.model, bundled("decoder").texts[0].source, predict=False)[head.kind]
    heads = range(stack.shape[1])
    spread = [_entropy(stack.weights(head.layer, one)) for one in heads]
    pair = sorted({int(np.argmin(spread)), int(np.argmax(spread))})
    maps = np.array([[_windowed(stack, head.layer, one, width)[0] for one in pair]
                     for width in WIDTHS])  # fmt: skip
    errors = np.array([[_windowed(stack, head.layer, one, width)[1] for one in pair]
                       for width in WIDTHS])  # fmt: skip
    harder = int(errors[TAKEN].argmax())
    return Scene(
        labels={
            "heads": [f"L{head.layer}·H{one}" for one in pair],
            "widths": [phrase("all"), *(str(width) for width in WIDTHS[1:])],
        },
        arrays={"maps": maps, "errors": errors},
        values={
            "width": float(WIDTHS[TAKEN]),
            "hard_error": errors[TAKEN, harder],
            "easy_error": errors[TAKEN, 1 - harder],
            "tokens": float(maps.shape[-1]),
            "first_error": errors[:, 0].tolist(),
            "second_error": errors[:, -1].tolist(),
        },
        places={"harder": harder, "easier": len(pair) - 1 - harder, "taken": TAKEN},
    )


def _entropy(weights: Float[np.ndarray, "query key"]) -> float:
    """Return the mean entropy of the rows, nats."""
    powers = weights * np.log(np.where(weights > 0, weights, 1.0))
    return float(-powers.sum(1).mean())


def _windowed(
    stack: AttentionStack, layer: int, head: int, width: int
) -> tuple[Float[np.ndarray, "query key"], float]:
    """Return a head's weights within a window, and the mean error of its outputs."""
    vectors = [np.asarray(one(layer, head), dtype=np.float64)
               for one in (stack.query, stack.key, stack.value)]  # fmt: skip
    scale = float(stack.layers[layer].scaling)
    exact = efficient.run("exact", *vectors, scale=scale)
    if not width:
        return np.asarray(exact.weights), 0.0
    result = efficient.run("window", *vectors, scale=scale, window=width)
    shown = np.where(result.computed, result.weights, np.nan)
    return shown, float(np.nanmean(difference(result, exact).output))


def _fold(row: HeadRow, head: str) -> Scene:
    """Return the row whose keys are read one after the other.

    The browser computes the highest score and the sum so far, which follow the dragged scores.
    `jump` is the key at which the earlier sum shrinks most.
    """
    scores = row.scores.astype(np.float64)
    highest = np.maximum.accumulate(scores)
    sums = np.array([np.exp(scores[: at + 1] - highest[at]).sum() for at in range(len(scores))])
    factors = np.exp(highest[:-1] - highest[1:])
    jump = 1 + int(factors.argmin())
    return Scene(
        labels={"keys": row.key_labels, "sentence": row.labels},
        arrays={
            "scores": row.scores,
            "weights": row.weights,
            "highest_so_far": highest,
            "sums": sums,
        },
        values={
            "query_label": row.labels[row.query],
            "head": head,
            "count": float(jump),
            "earlier": float(sums[jump - 1]),
            "after": float(sums[jump]),
            "most": float(jump + 1),
            "factor": significant(float(factors[jump - 1]), 3),
        },
        places={"query": row.query, "jump": jump, "before": jump - 1, "last": len(scores) - 1},
    )


def _linear(given: LessonInput, row: HeadRow) -> Scene:
    """Return the weights of the row, and those of linear attention with equal queries and keys.

    Frame 0 has the weights of the softmax twice, from which the prediction starts; the others are
    the heads of the layer.
    """
    stack, head = given.capture[given.head.kind], given.head
    heads = range(stack.shape[1])
    pairs = [_softmax_and_linear(stack, row, Head(head.kind, head.layer, one)) for one in heads]
    weights = pairs[head.head][0]
    apart = [0.5 * float(np.abs(one - other).sum()) for one, other in pairs]
    d, d_value = (one(head.layer, head.head).shape[1] for one in (stack.key, stack.value))
    return Scene(
        labels={
            "keys": row.key_labels,
            "sentence": row.labels,
            "heads": [phrase("softmax_of", head=head.label), *(f"H{one}" for one in heads)],
        },
        arrays={
            "weights": np.stack([weights, *(one for one, _ in pairs)]),
            "linear": np.stack([weights, *(one for _, one in pairs)]),
        },
        values={
            "query_label": row.labels[row.query],
            "head": [head.label, *(Head(head.kind, head.layer, one).label for one in heads)],
            "d": float(d),
            "d_value": float(d_value),
            "state": float(d * (d_value + 1)),
            "apart": [percent(float(one)) for one in (0.0, *apart)],
        },
        places={"query": row.query, "top": int(row.order[0]), "linear": 1 + head.head},
    )


def _softmax_and_linear(
    stack: AttentionStack, row: HeadRow, head: Head
) -> tuple[Float[np.ndarray, " key"], Float[np.ndarray, " key"]]:
    """Return the row's weights in a head, by the softmax and by linear attention."""
    vectors = [
        np.asarray(one(head.layer, head.head), dtype=np.float64)[: row.query + 1]
        for one in (stack.query, stack.key, stack.value)
    ]
    result = efficient.run("linear", *vectors, scale=float(stack.layers[head.layer].scaling))
    linear = np.asarray(result.weights)[-1][row.keys]
    return stack.weights(head.layer, head.head)[row.query, row.keys], linear / linear.sum()
