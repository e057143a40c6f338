"""Numbers of the lesson about the division by √d: scores of random vectors, and of two models."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from attnviz.attention import AttentionStack
from attnviz.captures.forward_pass import capture
from attnviz.lessons.scene import LessonInput, Scene
from attnviz.models import Model

__all__ = ["random_scores", "scaling_scenes", "spread_of_products"]

SIZES = tuple(2**power for power in range(11))
"""Lengths of the vectors: 1 to 1,024."""

KEYS, DRAWS = 16, 4000
EDGES = np.linspace(-100, 100, 81)
GPT, T5 = "gpt-classroom", "t5-classroom"
TEXTS = {GPT: "The little girl ran. The little girl", T5: "The house is blue."}


def scaling_scenes(given: LessonInput) -> Mapping[str, Scene]:
    """Return the scenes: histogram of q·k, largest weight, slope of the softmax, and T5.

    Queries and keys are random: each entry is drawn from a normal distribution of spread 1.
    """
    random = np.random.default_rng(given.seed)
    sizes = {"sizes": [f"{size:,}" for size in SIZES]}
    bins = [f"{middle:.0f}" for middle in (EDGES[1:] + EDGES[:-1]) / 2]
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
    products = {name: spread_of_products(given.load(name), text) for name, text in TEXTS.items()}
    raw, after = products[GPT]
    unscaled, _ = products[T5]
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
        "t5": Scene(
            {"kinds": [f"{GPT}: q·k", f"{GPT}: q·k / √32", f"{T5}: q·k"]},
            {"spreads": np.array([raw, after, unscaled])},
            {"raw": raw, "after": after, "t5": unscaled, "ratio": raw / unscaled},
            {"third": 2},
        ),
    }  # fmt: skip


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


def spread_of_products(model: Model, text: str) -> tuple[float, float]:
    """Return the spread of q·k over all pairs of tokens, and after the model's own scaling.

    The median over the heads of the first stack.
    """
    stack: AttentionStack = capture(model, text)[next(iter(model.info.heads))]
    layers, heads = stack.shape[:2]
    raw, after = [], []
    for layer in range(layers):
        for head in range(heads):
            products = stack.query(layer, head) @ stack.key(layer, head).T
            raw.append(products.std())
            after.append(products.std() * float(stack.layers[layer].scaling))
    return float(np.median(raw)), float(np.median(after))
