"""Effects of edits on what a model predicts: divergences, losses, candidates."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.errors import InputError
from attnviz.experiments.edits.edit_rules import Edit
from attnviz.experiments.edits.edited_model import edited
from attnviz.experiments.prediction_divergence import prediction_divergence
from attnviz.models import Encoded, Model, call_options, labels, model_inputs
from attnviz.models.inputs.input_checks import check_encoded

__all__ = ["CandidateChange", "EditEffect", "effect_of"]

CANDIDATES = 8


@dataclass(frozen=True)
class CandidateChange:
    """Probability of a token before and after the edits."""

    id: int
    label: str
    before: float
    after: float


@dataclass(frozen=True)
class EditEffect:
    """Predictions with and without edits, on one text.

    Attributes:
        divergence: KL(without || with) of the prediction at each position, nats.
        before: -ln of the probability of the token that followed, nats, without edits; NaN at the
            last position, and for encoders.
        after: the same with edits.
        position: position of `candidates`.
        candidates: the likeliest tokens of both runs, by their larger probability.
    """

    divergence: Float[np.ndarray, " position"]
    before: Float[np.ndarray, " position"]
    after: Float[np.ndarray, " position"]
    position: int
    candidates: tuple[CandidateChange, ...]


def effect_of(
    model: Model,
    encoded: Encoded,
    edits: Sequence[Edit],
    *,
    position: int = -1,
    candidates: int = CANDIDATES,
) -> EditEffect:
    """Run a model without and with edits, and compare what it predicts.

    Args:
        model: with a trained language head.
        encoded: a text, with a target for an encoder-decoder.
        edits: as for `edited`.
        position: position whose candidates are compared; negative numbers count from the end.
        candidates: number of candidates of each run.

    Raises:
        InputError: the model predicts no tokens, there is no such position, or an edit does not
            fit the model or the text.
    """
    if not model.predicts:
        raise InputError(f"{model.info.name} predicts no tokens: it has no trained language head")
    check_encoded(model, [encoded])
    inputs = model_inputs(model, [encoded])
    options = call_options(model, model.network)
    predictions: list[Tensor] = []
    for changes in (None, edits):
        with torch.inference_mode(), nullcontext() if changes is None else edited(model, changes):
            logits = model.network(**inputs, **options).logits
        if logits.dim() != 3:
            raise InputError(f"{model.info.name} predicts no token at any position")
        predictions.append(logits[0].float().log_softmax(-1))
    first, second = predictions
    count = len(first)
    if not -count <= position < count:
        raise InputError(f"there is no position {position}; the text has {count} tokens")
    place = position % count
    read = encoded.ids if encoded.target is None else encoded.target
    came = list(read[1:])
    if encoded.target is not None and encoded.closing is not None:
        came.append(encoded.closing)
    losses = [_losses(model, one, came) for one in predictions]
    return EditEffect(
        divergence=prediction_divergence(first, second).cpu().numpy(),
        before=losses[0],
        after=losses[1],
        position=place,
        candidates=_candidates(model, first[place].exp(), second[place].exp(), candidates),
    )


def _losses(
    model: Model, logs: Float[Tensor, "position word"], came: Sequence[int]
) -> Float[np.ndarray, " position"]:
    losses = np.full(len(logs), np.nan)
    if model.info.family != "encoder" and came:
        wanted = torch.tensor(list(came), device=logs.device)
        picked = logs[: len(came)].gather(-1, wanted[:, None])[:, 0]
        losses[: len(came)] = -picked.double().cpu().numpy()
    return losses


def _candidates(
    model: Model, before: Float[Tensor, " word"], after: Float[Tensor, " word"], count: int
) -> tuple[CandidateChange, ...]:
    """Return the likeliest tokens of two distributions; none where either is not finite."""
    if not bool(before.isfinite().all() and after.isfinite().all()):
        return ()
    size = min(count, len(before))
    best = (one.topk(size).indices.tolist() for one in (before, after))
    ids = torch.tensor(sorted({number for each in best for number in each}), device=before.device)
    larger = torch.maximum(before[ids], after[ids])
    ranked = ids[larger.argsort(descending=True)].tolist()
    named = labels(model.vocabulary, ranked)
    return tuple(
        CandidateChange(number, label, float(before[number]), float(after[number]))
        for number, label in zip(ranked, named, strict=True)
    )
