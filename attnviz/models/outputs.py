"""What a model says: the target it writes, the tokens it expects, and what came cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.errors import InputError
from attnviz.models.inputs import Encoded, source_inputs
from attnviz.models.loading import Model
from attnviz.models.texts import closed
from attnviz.models.tokens import labels
from attnviz.types import Prediction

__all__ = ["read_logits", "with_target", "wrong_sizes_explained"]

CANDIDATES = 5  # predictions kept per position
GENERATED_TOKENS = 64  # longest target that is generated when none is given
LOGIT_ROWS = 256  # positions whose probabilities over the vocabulary exist at a time
PROMPT_ROOM = 8  # positions kept free for what Whisper puts before a target: language, task, times


def with_target(model: Model, encoded: Encoded) -> Encoded:
    """The same input with the target that the model itself writes."""
    if not model.predicts:
        raise InputError(
            f"{model.info.name} has no trained language head that could write a target; give one"
        )
    return replace(encoded, **closed(model, _generate(model, encoded)))


def _generate(model: Model, encoded: Encoded) -> tuple[int, ...]:
    """What the model itself writes for this input, greedily; start token included."""
    inputs = source_inputs(model, [encoded])
    room = min(GENERATED_TOKENS, (model.info.max_tokens or GENERATED_TOKENS) - 1)
    if "input_features" in inputs:  # Whisper cuts long sounds in pieces, unless it is told not to
        inputs["force_unique_generate_call"] = True
        room = max(min(room, (model.info.max_tokens or GENERATED_TOKENS) - PROMPT_ROOM), 1)
    # The library sizes its cache by the encoder's depth, and a deeper decoder overruns it.
    cache = model.info.heads["decoder"][0] <= model.info.heads["encoder"][0]
    with torch.inference_mode(), wrong_sizes_explained(model, encoded):
        written = model.network.generate(
            **inputs,
            max_new_tokens=room,
            num_beams=1,
            do_sample=False,
            use_cache=cache,
        )
    return tuple(written[0].tolist())


@contextmanager
def wrong_sizes_explained(model: Model, encoded: Encoded) -> Iterator[None]:
    """Whether another size can be read is the model's to know; what it says becomes a sentence."""
    given = {name: tuple(values.shape) for name, values in encoded.features.items()}
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (ValueError, RuntimeError) as error:
        if all(given[name] == size for name, size in model.sites.sizes.items()):
            raise
        made = ", ".join(f"{name} of {size}" for name, size in model.sites.sizes.items())
        held = ", ".join(f"{name} of {size}" for name, size in given.items())
        raise InputError(
            f"{model.info.name} was made for {made}, and this input holds {held}: {error}"
        ) from error


def read_logits(
    model: Model, logits: Float[Tensor, "position vocabulary"], ids: Sequence[int], shifted: bool
) -> tuple[tuple[Prediction, ...], Float[np.ndarray, " position"]]:
    """The likeliest tokens per position, and what the tokens that came have cost.

    A position whose logits are not all finite has no candidates and no cost (NaN).
    """
    found: list[Prediction] = []
    losses = np.full(len(logits), math.nan, np.float32)
    for start in range(0, len(logits), LOGIT_ROWS):
        part = logits[start : start + LOGIT_ROWS].float().log_softmax(-1)
        best = part.topk(min(CANDIDATES, part.shape[-1]), dim=-1)
        names = labels(model.vocabulary, best.indices.flatten().tolist())
        chances = best.values.exp().cpu().numpy()
        width = chances.shape[1]
        for row, known in enumerate(np.isfinite(chances).all(-1)):
            kept = width if known else 0
            found.append(Prediction(names[row * width : row * width + kept], chances[row, :kept]))
        if shifted:
            came = torch.tensor(list(ids[start + 1 : start + 1 + len(part)]), device=part.device)
            cost = -part[: len(came)].gather(-1, came[:, None])[:, 0]
            losses[start : start + len(came)] = cost.cpu().numpy()
    return tuple(found), losses
