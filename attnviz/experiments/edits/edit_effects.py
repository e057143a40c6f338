"""Effects of edits on what a model predicts: divergences, losses, candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.errors import InputError
from attnviz.experiments.edits.edit_rules import Edit
from attnviz.experiments.edits.edited_model import edited
from attnviz.experiments.edits.masked_tokens import mask_tokens
from attnviz.experiments.prediction_divergence import prediction_divergence
from attnviz.models import Encoded, Model, call_options, labels, model_inputs
from attnviz.models.inputs.input_checks import check_encoded

__all__ = ["CandidateChange", "EditEffect", "effect_of", "effects_of", "tokens_of_losses"]

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
            last position. For encoders that of the token that was masked there, NaN elsewhere.
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
    masked: Sequence[int] = (),
    before: Sequence[Edit] = (),
    masked_before: Sequence[int] = (),
    position: int = -1,
    candidates: int = CANDIDATES,
) -> EditEffect:
    """Run a model without and with edits, and compare what it predicts.

    Args:
        model: with a trained language head.
        encoded: a text, with a target for an encoder-decoder.
        edits: as for `edited`.
        masked: positions that hold the mask token in the run with edits (encoders).
        before: edits of the run that is compared with; none is the plain model.
        masked_before: masked positions of that run.
        position: position whose candidates are compared; negative numbers count from the end.
        candidates: number of candidates of each run.

    Raises:
        InputError: the model predicts no tokens, there is no such position, or an edit does not
            fit the model or the text.
    """
    return effects_of(
        model,
        encoded,
        [edits],
        masked=masked,
        before=before,
        masked_before=masked_before,
        position=position,
        candidates=candidates,
    )[0]


def effects_of(
    model: Model,
    encoded: Encoded,
    lists: Sequence[Sequence[Edit]],
    *,
    masked: Sequence[int] = (),
    before: Sequence[Edit] = (),
    masked_before: Sequence[int] = (),
    position: int = -1,
    candidates: int = CANDIDATES,
    progress: Callable[[int, int], None] | None = None,
) -> list[EditEffect]:
    """Return the effect of each list of edits; the run that they are compared with is made once.

    Args:
        model: as for `effect_of`.
        encoded: as for `effect_of`.
        lists: lists of edits, each applied by itself.
        masked: as for `effect_of`, in all runs with edits.
        before: as for `effect_of`.
        masked_before: as for `effect_of`.
        position: as for `effect_of`.
        candidates: as for `effect_of`.
        progress: callback with the number of finished runs and of all. It may raise to cancel.

    Raises:
        InputError: as `effect_of`.
    """
    if not model.predicts:
        raise InputError(f"{model.info.name} predicts no tokens: it has no trained language head")
    check_encoded(model, [encoded])
    text_before, text_after = (
        mask_tokens(model, encoded, places) if places else encoded
        for places in (masked_before, masked)
    )
    first = _predictions(model, text_before, before)
    count = len(first)
    if not -count <= position < count:
        raise InputError(f"there is no position {position}; the text has {count} tokens")
    place = position % count
    losses = _losses(model, encoded, masked, first)
    effects: list[EditEffect] = []
    for done, edits in enumerate(lists, 1):
        second = _predictions(model, text_after, edits)
        effects.append(
            EditEffect(
                divergence=prediction_divergence(first, second).cpu().numpy(),
                before=losses,
                after=_losses(model, encoded, masked, second),
                position=place,
                candidates=_candidates(model, first[place].exp(), second[place].exp(), candidates),
            )
        )
        if progress is not None:
            progress(done, len(lists))
    return effects


def _predictions(
    model: Model, encoded: Encoded, edits: Sequence[Edit]
) -> Float[Tensor, "position word"]:
    """Return the logarithms of the predicted probabilities with edits."""
    inputs = model_inputs(model, [encoded])
    options = call_options(model, model.network)
    with torch.inference_mode(), edited(model, edits):
        logits: Tensor = model.network(**inputs, **options).logits
    if logits.dim() != 3:
        raise InputError(f"{model.info.name} predicts no token at any position")
    return logits[0].float().log_softmax(-1)


def tokens_of_losses(model: Model, encoded: Encoded, masked: Sequence[int]) -> dict[int, int]:
    """Return the id of the token whose loss is taken at each position.

    That is the token that followed; of an encoder, the token that was masked.
    """
    if model.info.family == "encoder":
        return {place: encoded.ids[place] for place in masked}
    read = encoded.ids if encoded.target is None else encoded.target
    following = dict(enumerate(read[1:]))
    if encoded.target is not None and encoded.closing is not None:
        following[len(read) - 1] = encoded.closing
    return following


def _losses(
    model: Model, encoded: Encoded, masked: Sequence[int], logs: Float[Tensor, "position word"]
) -> Float[np.ndarray, " position"]:
    """Return -ln of the probability of the token that followed, or that was masked."""
    losses = np.full(len(logs), np.nan)
    wanted = tokens_of_losses(model, encoded, masked)
    if wanted:
        places, ids = list(wanted), list(wanted.values())
        losses[places] = -logs[places, ids].double().cpu().numpy()
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
