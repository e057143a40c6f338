"""Numbers of the lesson about the division by √d: scores of random vectors, and of two models."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from attnviz.attention import AttentionStack
from attnviz.captures.forward_pass import capture
from attnviz.lessons.head_row import MOST_TOKENS, head_row
from attnviz.lessons.phrases.named_phrases import phrases_of
from attnviz.lessons.scene import LessonInput, Scene
from attnviz.models import Model
from attnviz.written_numbers import decimals

__all__ = ["random_scores", "scaling_scenes", "spread_of_products"]

phrase = phrases_of("scaling")

SIZES = tuple(2**power for power in range(11))
"""Lengths of the vectors: 1 to 1,024."""

KEYS, DRAWS = 16, 4000
EDGES = np.linspace(-100, 100, 81)
GPT, T5 = "gpt-classroom", "t5-classroom"


def scaling_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes: histogram of q·k, largest weight, slope of the softmax, a head, and T5.

    Queries and keys of the first three are random: each entry is drawn from a normal distribution
    of spread 1.

    Raises:
        InputError: as `head_row`.
    """
    random = np.random.default_rng(given.seed)
    sizes = {"sizes": [f"{size:,}" for size in SIZES]}
    bins = [decimals(middle, 0) for middle in (EDGES[1:] + EDGES[:-1]) / 2]
    shares, spreads = [], []
    largest: dict[str, list[float]] = {"plain": [], "scaled": []}
    slope: dict[str, list[float]] = {"plain": [], "scaled": []}
    for size in SIZES:
        scores = random_scores(random, size)
        counted, _ = np.histogram(scores, EDGES)
        shares.append(counted / counted.max())
        spreads.append(float(scores.std()))
        for name, factor in (("plain", 1.0), ("scaled", size**-0.5)):
            weights = _softmax(scores * factor)
            largest[name].append(float(weights.max(axis=1).mean()))
            slope[name].append(float((weights * (1 - weights)).sum(axis=1).mean()))
    ends = {"first": 0, "last": len(SIZES) - 1, "small": 6}
    return {
        "spread": Scene(
            {**sizes, "bins": bins},
            {"shares": np.array(shares)},
            {"spreads": spreads, "roots": [size**0.5 for size in SIZES]},
            ends,
        ),
        "largest": Scene(
            sizes, {"plain": np.array(largest["plain"]), "scaled": np.array(largest["scaled"])},
            {}, ends,
        ),
        "slope": Scene(
            sizes, {"plain": np.array(slope["plain"]), "scaled": np.array(slope["scaled"])},
            {}, ends,
        ),
        "real": _real_row(given),
        "t5": _two_models(given),
    }  # fmt: skip


def _real_row(given: LessonInput) -> Scene:
    """Return the scene of a real row: q·k, and its weights after the model's division."""
    row = head_row(given)
    scale = float(given.capture[given.head.kind].layers[given.head.layer].scaling)
    products = row.scores.astype(np.float64) / scale
    powers = np.exp(products - products.max())
    top = int(row.order[0])
    return Scene(
        labels={"keys": row.key_labels, "sentence": row.labels},
        arrays={"scores": products, "weights": row.weights, "divided": row.weights},
        values={
            "head": given.head.label,
            "query_label": row.labels[row.query],
            "root": 1 / scale,
            "size": 1 / scale**2,
            "top_divided": float(row.weights[top]),
            "top_plain": float(powers[top] / powers.sum()),
        },
        places={"query": row.query, "top": top, "second": int(row.order[1])},
    )


def _two_models(given: LessonInput) -> Scene:
    """Return the spreads of q·k in a GPT and a T5, [head, product]: middle, smallest, largest."""
    products = {
        name: spread_of_products(given.load(name), given.capture.text) for name in (GPT, T5)
    }
    raw, after = products[GPT]
    unscaled, _ = products[T5]
    frames = [
        [float(choose(one)) for one in (raw, after, unscaled)]
        for choose in (np.median, np.min, np.max)
    ]
    return Scene(
        {
            "kinds": ("GPT: q·k", "GPT: q·k / √32", "T5: q·k"),
            "heads": tuple(phrase(key) for key in ("middle", "smallest", "largest")),
        },
        {"spreads": np.array(frames)},
        dict(zip(("raw", "after", "t5"), frames[0], strict=True)),
        {"third": 2},
    )


def random_scores(random: np.random.Generator, size: int) -> Float[np.ndarray, "draw key"]:
    """Return q·k of random vectors, with one query for the 16 keys of a draw.

    Given the query, its products with random keys are normal with a spread of its length: the
    length is drawn, and the products, instead of all entries.
    """
    length = np.sqrt(random.chisquare(size, DRAWS))
    return length[:, None] * random.normal(size=(DRAWS, KEYS))


def _softmax(scores: Float[np.ndarray, "draw key"]) -> Float[np.ndarray, "draw key"]:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def spread_of_products(
    model: Model, text: str
) -> tuple[Float[np.ndarray, " head"], Float[np.ndarray, " head"]]:
    """Return the spread of q·k over all pairs of tokens, and after the model's division.

    One number for each head of all layers of the first stack.
    """
    read = capture(model, text, cut=True, limit=MOST_TOKENS)
    stack: AttentionStack = read[next(iter(model.info.heads))]
    layers, heads = stack.shape[:2]
    raw, after = [], []
    for layer in range(layers):
        for head in range(heads):
            products = stack.query(layer, head) @ stack.key(layer, head).T
            raw.append(products.std())
            after.append(products.std() * float(stack.layers[layer].scaling))
    return np.array(raw), np.array(after)
