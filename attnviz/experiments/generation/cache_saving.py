"""Generation with and without a cache of keys and values: multiplications and time per token."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from attnviz.errors import InputError, TextTooLong
from attnviz.experiments.generation.multiplications import (
    forward_multiplications,
    reads_last_logits,
)
from attnviz.models import Encoded, Model
from attnviz.models.inputs.input_checks import check_encoded

__all__ = ["CacheSaving", "measure_saving"]


@dataclass(frozen=True, eq=False)
class CacheSaving:
    """Costs of a text that is written with a cache and, token by token, without one.

    Attributes:
        ids: the tokens that were written, the likeliest at each step.
        same: whether both ways wrote the same tokens.
        cached: multiplications of each token with the cache.
        again: multiplications of each token without it.
        cached_seconds: seconds of each token with the cache, median of the repeats.
        again_seconds: seconds of each token without it.
    """

    ids: tuple[int, ...]
    same: bool
    cached: Int[np.ndarray, " token"]
    again: Int[np.ndarray, " token"]
    cached_seconds: Float[np.ndarray, " token"]
    again_seconds: Float[np.ndarray, " token"]


def measure_saving(
    model: Model,
    ids: Sequence[int],
    count: int,
    *,
    repeats: int = 3,
    progress: Callable[[int, int], None] | None = None,
) -> CacheSaving:
    """Write `count` tokens after a prompt with and without a cache, and measure both.

    With the cache the first token reads the prompt, and every other one token. Without it each
    token reads the whole text so far. Tokens of both ways alternate, so that other work on the
    machine meets both.

    Args:
        model: a decoder with a trained language head.
        ids: the prompt, from `encode`.
        count: tokens to write, at least 1; end tokens do not stop it.
        repeats: each token is timed so many times.
        progress: callback with the number of tokens written and of all tokens; may raise to cancel.

    Raises:
        InputError: the model is no decoder, predicts nothing, or its multiplications are unknown.
        TextTooLong: the model has too few positions.
    """
    if model.info.family != "decoder" or not model.predicts:
        raise InputError(f"{model.info.name} predicts no next token; choose a GPT")
    if count < 1 or repeats < 1:
        raise InputError(f"at least one token is written once, not {count} and {repeats}")
    check_encoded(model, [Encoded(tuple(ids))])
    limit = model.info.max_tokens
    if limit is not None and len(ids) + count > limit:
        raise TextTooLong(
            f"{len(ids):,} tokens and {count} new ones are more than the {limit:,} positions of "
            f"{model.info.name}; write fewer tokens or shorten the text",
            tokens=len(ids) + count,
            limit=limit,
        )
    runs = [_Pair(model, tuple(ids)) for _ in range(repeats)]
    for at in range(count):
        for place, run in enumerate(runs):
            run.write()
            if progress is not None:
                progress(at * repeats + place + 1, count * repeats)
    first = runs[0]
    lengths = [len(ids) + at for at in range(count)]
    return CacheSaving(
        ids=tuple(first.written),
        same=all(run.same for run in runs),
        cached=np.array(
            [
                forward_multiplications(model, length)
                if not at
                else forward_multiplications(model, 1, length - 1)
                for at, length in enumerate(lengths)
            ]
        ),
        again=np.array([forward_multiplications(model, length) for length in lengths]),
        cached_seconds=_medians([run.cached_seconds for run in runs]),
        again_seconds=_medians([run.again_seconds for run in runs]),
    )


def _medians(times: Sequence[Sequence[float]]) -> Float[np.ndarray, " token"]:
    return np.array([statistics.median(one) for one in zip(*times, strict=True)])


class _Pair:
    """Text that is written both ways at once."""

    def __init__(self, model: Model, ids: tuple[int, ...]) -> None:
        self._model, self._ids = model, list(ids)
        self._cache = DynamicCache(config=model.network.config)
        self._read = 0
        self.written: list[int] = []
        self.cached_seconds: list[float] = []
        self.again_seconds: list[float] = []
        self.same = True

    def write(self) -> None:
        """Write one token both ways; the text goes on with that of the cache."""
        begun = time.perf_counter()
        with_cache = self._next(self._ids[self._read :], past_key_values=self._cache)
        middle = time.perf_counter()
        without = self._next(self._ids)
        self.again_seconds.append(time.perf_counter() - middle)
        self.cached_seconds.append(middle - begun)
        self.same = self.same and with_cache == without
        self._read = len(self._ids)
        self._ids.append(with_cache)
        self.written.append(with_cache)

    def _next(self, new: Sequence[int], **options: Any) -> int:
        network = self._model.network
        ids = torch.tensor([list(new)], device=network.device)
        if reads_last_logits(self._model):
            options["logits_to_keep"] = 1
        with torch.inference_mode():
            output = network(
                input_ids=ids,
                attention_mask=ids.new_ones(1, self._read + len(new) if options.get(
                    "past_key_values") is not None else len(new)),
                use_cache="past_key_values" in options,
                return_dict=True,
                **options,
            )  # fmt: skip
        logits: Tensor = output.logits
        return int(logits[0, -1].argmax())  # also waits for an accelerator
