"""Effect of a cut cache on every next token: loss, and divergence from the uncut run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from attnviz.errors import InputError
from attnviz.experiments.generation.cache_cuts import CacheCut
from attnviz.experiments.generation.cached_model import CachedModel, cache_bytes
from attnviz.experiments.generation.cut_layers import (
    EvictingLayer,
    ReceivedWeights,
    RoundedLayer,
    cut_cache,
)
from attnviz.experiments.prediction_divergence import prediction_divergence
from attnviz.models import Encoded, Model
from attnviz.models.inputs.input_checks import check_encoded

__all__ = ["CutRun", "run_with_cuts"]


@dataclass(frozen=True)
class CutRun:
    """Reading of a text, token by token.

    Attributes:
        losses: -ln of the probability of the token that followed, nats; one less than tokens.
        divergence: KL(uncut || this run) of the next-token distribution at each position, nats.
        bytes: bytes of keys and values of all layers after each token.
    """

    losses: Float[np.ndarray, " position"]
    divergence: Float[np.ndarray, " token"]
    bytes: Int[np.ndarray, " token"]

    @property
    def mean_loss(self) -> float:
        """Mean of the losses, nats per token."""
        return float(self.losses.mean())


def run_with_cuts(
    model: Model,
    ids: Sequence[int],
    cuts: Sequence[CacheCut],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[CutRun, ...]:
    """Read a text once with the whole cache and once per cut; the uncut run comes first.

    Args:
        model: a decoder with a trained language head.
        ids: from `encode`; at least 2.
        cuts: rules of the other runs.
        progress: callback with the number of tokens read and of all tokens; may raise to cancel.

    Raises:
        InputError: the model is no decoder, predicts nothing, or computes a bias by distance.
        TextTooLong: more tokens than the model has positions.
    """
    if model.info.family != "decoder" or not model.predicts:
        raise InputError(f"{model.info.name} predicts no next token; choose a GPT")
    if len(ids) < 2:
        raise InputError("a text of at least 2 tokens is needed: the last one is only predicted")
    check_encoded(model, [Encoded(tuple(ids))])
    runs = [_Run(CachedModel(model))]
    runs += [_Run(CachedModel(model, cut_cache(model, cut))) for cut in cuts]
    for place, number in enumerate(ids):
        given: Tensor | None = None
        for run in runs:
            log_probabilities = run.read(number).log_softmax(-1)
            given = log_probabilities if given is None else given
            run.divergence.append(float(prediction_divergence(given, log_probabilities)))
            if place + 1 < len(ids):
                run.losses.append(-float(log_probabilities[ids[place + 1]]))
        if progress is not None:
            progress(place + 1, len(ids))
    return tuple(
        CutRun(np.array(run.losses), np.array(run.divergence), np.array(run.bytes)) for run in runs
    )


class _Run:
    """Model with a cache, and what was measured so far."""

    def __init__(self, cached: CachedModel) -> None:
        if cached.cache is None:
            raise TypeError("a decoder has a cache")
        self.cached = cached
        self.cache = cached.cache
        self._cut = any(isinstance(one, (EvictingLayer, RoundedLayer)) for one in self.cache.layers)
        self.losses: list[float] = []
        self.divergence: list[float] = []
        self.bytes: list[int] = []

    def read(self, number: int) -> Float[Tensor, " word"]:
        """Read one token; return the logits of the next, float64."""
        model, cache = self.cached.model, self.cache
        weights = ReceivedWeights(model.sites.places(), model, cache) if self._cut else None
        logits = self.cached.read([number], weights)
        rounded = sum(
            layer.rounded_bytes for layer in cache.layers if isinstance(layer, RoundedLayer)
        )
        self.bytes.append(sum(cache_bytes(cache).values()) + rounded)
        return logits[-1].double()
