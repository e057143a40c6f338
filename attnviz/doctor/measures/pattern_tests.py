"""Experiments that show what a head can do, where ordinary texts seldom ask for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from attnviz.attention import AttentionStack
from attnviz.captures.forward_pass import capture_ids
from attnviz.doctor.measures.text_measures import Tables, batch_tokens
from attnviz.errors import AttnvizError
from attnviz.experiments.loss_examples import batches
from attnviz.experiments.repetition import repeat_random
from attnviz.models import Encoded, Model, encode
from attnviz.models.tokenizers.marker_ids import marker_ids

__all__ = ["on_copies", "read_pairs", "read_repeats"]

SEQUENCES = 8
PERIOD = 25
REPEATED = {
    "repeat_induction": "induction",
    "repeat_duplicate": "duplicate_token",
    "repeat_previous": "previous_token",
}
PAIRS = 32
PAIR_TOKENS = 64


def read_repeats(model: Model, tick: Callable[[float], None], *, seed: int = 0) -> Tables:
    """Return a decoder's induction, duplicate and previous-token scores on repeated random tokens.

    Each sequence counts as a text: `repeat_random` with period 25 (less where the model has no
    room), the mean over the rows of the second copy. Nothing but repetition can help there, so a
    head that scores does match tokens, which on ordinary text might be chance. Empty for models
    that continue nothing, or have no room for two tokens twice.
    """
    limit = model.info.max_tokens
    begin = int(model.tokenizer.bos_token_id is not None)
    period = PERIOD if limit is None else min(PERIOD, (limit - begin) // 2)
    if model.info.family != "decoder" or period < 2:
        return {}
    scores = []
    for number in range(SEQUENCES):
        scores.append(
            repeat_random(model, period=period, sequences=1, seed=SEQUENCES * seed + number).scores
        )
        tick((number + 1) / SEQUENCES)
    return {
        "self": {
            name: np.stack([one[metric] for one in scores], -1) for name, metric in REPEATED.items()
        }
    }


def read_pairs(
    model: Model, texts: Sequence[str], tick: Callable[[float], None], *, seed: int = 0
) -> Tables:
    """Return the weight of an encoder's heads on the same token in the other of two sentences.

    The second sentence holds the words of the first in a random order, so that neither place nor
    neighbours can help. The mean over the words of both of the weight on copies in the other one,
    for up to 32 texts. Empty for models that are no encoders.
    """
    if model.info.family != "encoder" or model.vocabulary is None:
        return {}
    random = np.random.default_rng(seed)
    limit = min(PAIR_TOKENS, model.info.max_tokens or PAIR_TOKENS)
    shuffled = [_shuffled(model, text, limit, random) for text in texts[:PAIRS]]
    pairs = [one for one in shuffled if one is not None]
    if not pairs:
        return {}
    weights = np.full((*model.info.heads["self"], len(pairs)), np.nan, np.float32)
    done = 0
    for chosen in batches([encoded for encoded, _ in pairs], batch_tokens(model)):
        part = [pairs[index][0] for index in chosen]
        for index, capture in zip(chosen, capture_ids(model, part, predict=False), strict=True):
            weights[..., index] = on_copies(capture["self"], pairs[index][1])
        done += len(chosen)
        tick(done / len(pairs))
    return {"self": {"pair_duplicate": weights}}


def on_copies(
    stack: AttentionStack, half: Int[np.ndarray, " position"]
) -> Float[np.ndarray, "layer head"]:
    """Return the mean weight of words on the same tokens in the other sentence.

    Args:
        stack: with its weights.
        half: 1 for words of the first sentence, 2 for those of the second, 0 for other tokens.
    """
    ids = stack.query_tokens.ids
    copies = (ids[:, None] == ids) & (half[:, None] * half == 2)
    rows = copies.any(-1)
    layers, heads, _, _ = stack.shape
    means = [
        [(stack.weights(layer, head) * copies).sum(-1)[rows].mean() for head in range(heads)]
        for layer in range(layers)
    ]
    return np.asarray(means, np.float32)


def _shuffled(
    model: Model, text: str, limit: int, random: np.random.Generator
) -> tuple[Encoded, Int[np.ndarray, " position"]] | None:
    """Return a sentence paired with its shuffled words, and the half of each token."""
    try:
        encoded = encode(model, text, pair=text, cut=True, limit=limit)
    except AttnvizError:
        return None
    special = marker_ids(model.tokenizer)
    words = [place for place, one in enumerate(encoded.ids) if one not in special]
    length = len(words) // 2
    if not length:
        return None
    first, second = words[:length], words[len(words) - length :]
    half = np.zeros(len(encoded.ids), np.int64)
    half[first], half[second] = 1, 2
    ids = list(encoded.ids)
    for place, source in zip(second, random.permutation(first), strict=True):
        ids[place] = encoded.ids[source]
    return replace(encoded, ids=tuple(ids)), half
