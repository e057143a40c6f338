"""Numbers of five encodings of positions at a distance, and at twice that distance."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnviz.lessons.phrases.named_phrases import phrases_of
from attnviz.lessons.positions.position_encodings import bucket_bias, rotated, sinusoids
from attnviz.lessons.positions.query_key_vectors import (
    LEARNED_HEAD,
    learned_vectors,
    rotation_vectors,
)
from attnviz.lessons.scene import LessonInput, Scene
from attnviz.models import Model

__all__ = ["encoding_names", "learned_effects", "twice_scene"]

phrase = phrases_of("positions")

LEARNED, BUCKETS, ROTATION = "gpt-classroom", "t5-classroom", "llama-classroom"

DISTANCES = (16, 32, 64, 128, 255)
"""255: the largest distance of the GPT's 256 learned positions."""

WIDTH, SLOPE = 256, 0.25
"""Width of the sinusoids, and slope of the ALiBi curve."""


def twice_scene(given: LessonInput) -> Scene:
    """Return what each encoding adds to a score, [distance, encoding, once or twice as far].

    Compared with distance 0. NaN where the model has no vector for a position.
    """
    once = torch.tensor(DISTANCES)
    columns = [_effects(given, away) for away in (once, 2 * once)]
    names = encoding_names()
    return Scene(
        labels={
            "encodings": tuple(names[at] for at in (2, 1, 3, 4, 5)),
            "distances": [phrase("distances", once=away, twice=2 * away) for away in DISTANCES],
            "columns": (phrase("once"), phrase("twice")),
        },
        arrays={"effects": np.stack(columns, axis=-1).transpose(1, 0, 2)},
        values={
            "farthest": float(DISTANCES[-1]),
            "twice": float(2 * DISTANCES[-1]),
            "places": float(DISTANCES[-1] + 1),
            "bucket": float(columns[0][2, -1]),
            "bucket_twice": float(columns[1][2, -1]),
            "alibi": float(columns[0][4, -1]),
            "alibi_twice": float(columns[1][4, -1]),
        },
        places={"farthest": len(DISTANCES) - 1},
    )


def encoding_names() -> tuple[str, ...]:
    """Return the names of `ENCODINGS` on the screen."""
    words = [phrase(key) for key in ("none", "sinusoidal", "learned", "buckets")]
    return (*words, "RoPE", "ALiBi")


def _effects(
    given: LessonInput, away: Int[Tensor, " distance"]
) -> Float[np.ndarray, "encoding distance"]:
    """Return what the encodings add at distances, compared with distance 0."""
    waves = sinusoids(torch.cat([torch.zeros(1, dtype=torch.long), away]), WIDTH)
    sinusoidal = (waves[1:] - waves[0]) @ waves[0] / math.sqrt(WIDTH)
    count = int(away.max()) + 1
    bias = bucket_bias(given.load(BUCKETS).network, count)[0]
    query = rotation_vectors(given.load(ROTATION), "the")[0]
    turned = rotated(query.expand(len(away), -1), -away)
    rope = (turned - query) @ query[0] / math.sqrt(query.shape[-1])
    rows = [
        learned_effects(given.load(LEARNED), away),
        sinusoidal,
        bias[count - 1, count - 1 - away] - bias[0, 0],
        rope,
        -SLOPE * away.double(),
    ]
    return torch.stack(rows).numpy()


def learned_effects(model: Model, away: Int[Tensor, " distance"]) -> Float[Tensor, " distance"]:
    """Return the mean score of "the" with an earlier "the", minus that of "the" with itself.

    The means are over all places of the model's table of positions; NaN where it has none.
    """
    ids = model.tokenizer(" the", add_special_tokens=False)["input_ids"][:1]
    count = model.network.config.n_positions
    query, key = learned_vectors(model, ids * count, LEARNED_HEAD)
    products = query @ key.T / math.sqrt(query.shape[-1])
    itself = products.diagonal().mean()
    missing = torch.tensor(math.nan, dtype=products.dtype)
    return torch.stack(
        [
            products.diagonal(-one).mean() - itself if one < count else missing
            for one in away.tolist()
        ]
    )
