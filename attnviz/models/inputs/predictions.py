"""Predictions of a model: the likeliest tokens per position, and the loss of the actual ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.errors import InputError
from attnviz.models.inputs.model_inputs import Encoded
from attnviz.models.loading.load import Model
from attnviz.models.tokenizers.token_labels import labels
from attnviz.types import Prediction

__all__ = ["read_logits", "wrong_sizes_explained"]

CANDIDATES = 5  # predictions kept per position
LOGIT_ROWS = 256  # positions whose probabilities over the vocabulary exist at a time


@contextmanager
def wrong_sizes_explained(model: Model, encoded: Encoded) -> Iterator[None]:
    """Turn what a model raises about a picture or sound of another size into InputError."""
    given = {name: tuple(values.shape) for name, values in encoded.features.items()}
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (ValueError, RuntimeError) as error:
        if all(given[name] == size for name, size in model.sites.sizes.items()):
            raise
        sizes = ", ".join(f"{name} of {size}" for name, size in model.sites.sizes.items())
        held = ", ".join(f"{name} of {size}" for name, size in given.items())
        raise InputError(
            f"{model.info.name} was made for {sizes}, and this input holds {held}: {error}"
        ) from error


def read_logits(
    model: Model, logits: Float[Tensor, "position vocabulary"], ids: Sequence[int], shifted: bool
) -> tuple[tuple[Prediction, ...], Float[np.ndarray, " position"]]:
    """Return the likeliest tokens per position, and -ln p of the tokens that came, in nats.

    A position whose logits are not all finite has no candidates and a loss of NaN.
    """
    predictions: list[Prediction] = []
    losses = np.full(len(logits), math.nan, np.float32)
    for start in range(0, len(logits), LOGIT_ROWS):
        part = logits[start : start + LOGIT_ROWS].float().log_softmax(-1)
        best = part.topk(min(CANDIDATES, part.shape[-1]), dim=-1)
        names = labels(model.vocabulary, best.indices.flatten().tolist())
        chances = best.values.exp().cpu().numpy()
        width = chances.shape[1]
        for row, known in enumerate(np.isfinite(chances).all(-1)):
            kept = width if known else 0
            predictions.append(
                Prediction(names[row * width : row * width + kept], chances[row, :kept])
            )
        if shifted:
            came = torch.tensor(list(ids[start + 1 : start + 1 + len(part)]), device=part.device)
            cost = -part[: len(came)].gather(-1, came[:, None])[:, 0]
            losses[start : start + len(came)] = cost.cpu().numpy()
    return tuple(predictions), losses
