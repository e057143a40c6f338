"""Numbers of the lesson about positions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from attnviz.experiments.text_sets import joined_stories
from attnviz.lessons.phrases.named_phrases import phrases_of
from attnviz.lessons.positions.beyond_training import beyond_scene
from attnviz.lessons.positions.position_encodings import (
    ENCODINGS,
    alibi_slopes,
    attention_output,
    bucket_bias,
    rotated,
    sinusoids,
)
from attnviz.lessons.positions.query_key_vectors import (
    LEARNED_HEAD,
    ROTATION_HEAD,
    learned_vectors,
    rotation_vectors,
)
from attnviz.lessons.positions.twice_as_far import encoding_names, learned_effects, twice_scene
from attnviz.lessons.scene import LessonInput, Scene
from attnviz.lessons.word_places import WordTokens, relative_change, sentence_words
from attnviz.models import Model, twin

__all__ = ["position_scenes"]

phrase = phrases_of("positions")

ENCODER, LEARNED, BUCKETS, ROTATION = (
    "bert-classroom",
    "gpt-classroom",
    "t5-classroom",
    "llama-classroom",
)

FARTHEST = 32
"""Distance to which effects on scores are shown."""

SHOWN_SLOPE = 0.25
"""Slope of the ALiBi curve: that of the second of eight heads is 2^-2."""

SLIDE = 101
"""Steps by which query and key move together, from 0."""

REACH = 512
"""Keys of the row that shows ALiBi's slopes."""

WINDOWS = (64, 128, 256, 512)
"""Tokens that the Llama's window layers see: 64 in training, and more."""

LONG_TEXT = 1024
"""Tokens of the text on which the windows are compared."""


def position_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes; each names the model whose weights it uses.

    Raises:
        InputError: as `sentence_words` and `WordTokens.of`.
    """
    words = sentence_words(given.capture.text)
    return {
        "shuffle": _shuffled(given, words),
        "distance": _distances(given),
        "slide": _slides(given, words),
        "slopes": _slopes(),
        "twice": twice_scene(given),
        "beyond": beyond_scene(),
        "longer": _wider_windows(given.load(ROTATION)),
    }


def _shuffled(given: LessonInput, words: tuple[str, ...]) -> Scene:
    """Return changes of the words' outputs when the words are shuffled.

    The changes are [encoding, word, mask]; the masks are none and causal.
    """
    model = given.load(ENCODER)
    tokens = WordTokens.of(model, words)
    ids = [tokens.ids[at] for at in tokens.last]
    order = _order(len(words), given.seed)
    bias = bucket_bias(given.load(BUCKETS).network, len(words))
    changes = np.zeros((len(ENCODINGS), len(words), 2))
    for at, encoding in enumerate(ENCODINGS):
        for causal in (False, True):
            before = attention_output(model.network, ids, encoding, causal=causal, bias=bias)
            moved = attention_output(
                model.network, [ids[old] for old in order], encoding, causal=causal, bias=bias
            )
            after = torch.empty_like(moved)
            after[order] = moved
            changes[at, :, int(causal)] = relative_change(before, after)
    return Scene(
        labels={
            "words": words,
            "masks": (phrase("no_mask"), phrase("causal_mask")),
            "encodings": encoding_names(),
        },
        arrays={"changes": changes},
        values={
            "shuffled": " ".join(words[at] for at in order),
            "free": changes[:, :, 0].mean(1).round(6).tolist(),
            "causal": changes[:, :, 1].mean(1).round(6).tolist(),
        },
    )


def _order(count: int, seed: int) -> list[int]:
    """Return a random order in which no word stays where it was."""
    draws = np.random.default_rng(seed)
    while True:
        order = draws.permutation(count)
        if (order != np.arange(count)).all():
            return [int(at) for at in order]


def _distances(given: LessonInput) -> Scene:
    """Return how much each encoding adds to a score at a distance, [encoding, distance].

    Every curve is compared with distance 0.
    """
    away = torch.arange(FARTHEST + 1)
    width = 256
    waves = sinusoids(torch.arange(FARTHEST + 1), width)
    bias = bucket_bias(given.load(BUCKETS).network, FARTHEST + 1)[0]
    query = rotation_vectors(given.load(ROTATION), "the")[0]
    turned = rotated(query.expand(FARTHEST + 1, -1), -away)
    curves = [
        torch.zeros(FARTHEST + 1).double(),
        waves @ waves[0] / math.sqrt(width),
        learned_effects(given.load(LEARNED), away),
        bias[FARTHEST, FARTHEST - away],
        turned @ query[0] / math.sqrt(query.shape[-1]),
        -SHOWN_SLOPE * away.double(),
    ]
    effects = torch.stack([curve - curve[0] for curve in curves]).numpy()
    return Scene(
        labels={
            "distances": [str(at) for at in range(FARTHEST + 1)],
            "encodings": encoding_names(),
        },
        arrays={"effects": effects, "alibi": effects[-1]},
        values={
            "far": effects[:, -1].tolist(),
            "near": effects[:, 1].tolist(),
            "source": (
                phrase("source_none"),
                phrase("source_sinusoidal"),
                phrase("source_learned", model=LEARNED, head=f"L0·H{LEARNED_HEAD}", word="the"),
                phrase("source_buckets", model=BUCKETS),
                phrase("source_rotation", model=ROTATION, head=f"L0·H{ROTATION_HEAD}"),
                phrase("source_alibi", slope=SHOWN_SLOPE),
            ),
        },
    )


def _slides(given: LessonInput, words: tuple[str, ...]) -> Scene:
    """Return the score of the last word with an earlier one while both move on, [step]."""
    text = " ".join(words)
    query, key = rotation_vectors(given.load(ROTATION), text)
    last = len(query) - 1
    before = torch.arange(last)
    at = int((rotated(query, torch.arange(last + 1))[-1] @ rotated(key[:last], before).T).argmax())
    steps = torch.arange(SLIDE)
    turned = (
        rotated(query[last].expand(SLIDE, -1), steps + last)
        * rotated(key[at].expand(SLIDE, -1), steps + at)
    ).sum(1) / math.sqrt(query.shape[-1])
    learned = given.load(LEARNED)
    ids = learned.tokenizer(text, add_special_tokens=False)["input_ids"]
    place = min(at, len(ids) - 2)
    moved = []
    for shift in range(SLIDE):
        queries, keys = learned_vectors(learned, ids, LEARNED_HEAD, shift)
        moved.append(float(queries[-1] @ keys[place]) / math.sqrt(queries.shape[-1]))
    tokens = learned.tokenizer.convert_ids_to_tokens(ids)
    return Scene(
        labels={"steps": [str(step) for step in range(SLIDE)]},
        arrays={"rope": turned.numpy(), "learned": np.array(moved)},
        values={
            "query_word": words[-1],
            "key_word": str(tokens[place]).replace("Ġ", "").replace("▁", ""),
            "start": float(turned[0]),
            "lowest": float(min(moved)),
            "highest": float(max(moved)),
            "low": 4 * math.floor(min(0.0, *moved, float(turned.min())) / 4),
            "high": 4 * math.ceil(max(*moved, float(turned.max())) / 4),
        },
        places={"first": 0, "last": SLIDE - 1},
    )


def _slopes() -> Scene:
    """Return the weight of the nearest keys under ALiBi, of equal scores, [head, count]."""
    slopes = alibi_slopes(8)
    away = torch.arange(REACH, dtype=torch.float64)
    weights = (-slopes[:, None] * away).softmax(-1)
    sums = weights.cumsum(-1)
    reached = (sums < 0.5).sum(-1) + 1
    return Scene(
        labels={
            "counts": [str(at + 1) for at in range(REACH // 2)],
            "heads": [
                phrase("slope", head=at, slope=f"1/{round(1 / float(slope))}")
                for at, slope in enumerate(slopes)
            ],
        },
        arrays={"sums": sums[:, : REACH // 2].numpy()},
        values={
            "half": reached.double().tolist(),
            "largest": weights[:, 0].tolist(),
            "slope": [f"1/{round(1 / float(slope))}" for slope in slopes],
        },
        places={"last": 7},
    )


def _wider_windows(model: Model) -> Scene:
    """Return the mean loss of the second half of a long text under wider windows, [window]."""
    ids = model.tokenizer(joined_stories(), truncation=True, max_length=LONG_TEXT)["input_ids"]
    losses = [_late_loss(model, ids, window) for window in WINDOWS]
    return Scene(
        labels={"windows": [str(window) for window in WINDOWS]},
        arrays={"losses": np.array(losses)},
        values={"count": float(len(ids) // 2)},
        places={"first": 0, "second": 1, "last": len(WINDOWS) - 1},
    )


def _late_loss(model: Model, ids: Sequence[int], window: int) -> float:
    network = twin(model.network)
    network.set_attn_implementation("sdpa")
    network.config.sliding_window = window
    for part in network.modules():
        if getattr(part, "sliding_window", None):
            part.sliding_window = window
    given = torch.tensor([list(ids)], device=network.device)
    with torch.inference_mode():
        run = network(input_ids=given, attention_mask=torch.ones_like(given))
        losses = nn.functional.cross_entropy(
            run.logits[0, :-1].float(), given[0, 1:], reduction="none"
        )
    return float(losses[len(ids) // 2 :].mean())
