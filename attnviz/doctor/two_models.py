"""Two models on the same texts: what fine-tuning has done to each head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from attnviz import metrics
from attnviz.captures.forward_pass import Capture, capture_ids
from attnviz.doctor.comparison import Comparison
from attnviz.doctor.examination import Reading, examine
from attnviz.doctor.labels.thresholds import Thresholds
from attnviz.doctor.measures.bootstrap import intervals
from attnviz.errors import InputError
from attnviz.experiments.encoded_texts import LongTexts
from attnviz.experiments.loss_examples import batches
from attnviz.experiments.text_sets import Text, TextSet, as_text_set
from attnviz.findings import Progress
from attnviz.metrics.registry import mean_over_rows
from attnviz.models import Model
from attnviz.types import Kind

__all__ = ["compare"]

BATCH_TOKENS = 1024  # both models' queries, keys and values of a batch exist at a time
LEAST_COSINE = 0.2  # of vectors of the vocabulary; 0.79 between gpt- and french-classroom
_FAMILIES = {
    "decoder": "a decoder",
    "encoder": "an encoder",
    "encoder-decoder": "an encoder-decoder",
}

DIAGNOSES = 0.45
"""Share of the time that each of the two diagnoses takes; the rest goes to comparing weights."""


def compare(
    first: Model,
    second: Model,
    texts: str | Path | Sequence[str | Text] | TextSet | None = None,
    *,
    ablate: bool = True,
    thresholds: Thresholds | None = None,
    long: LongTexts = "windows",
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Comparison:
    """Diagnose two models of one shape on the same texts, and say how their heads differ.

    Made for a base model and what was fine-tuned from it. Head 5 of layer 3 is compared with head
    5 of layer 3; two models that were trained apart have their heads in another order, and their
    divergences say nothing. Where an encoder-decoder has no target, each diagnosis takes the loss
    of what the same model writes, and weights are compared on what the first one has written.

    Arguments and errors as for `diagnose`.

    Raises:
        InputError: the models differ in layers, heads or kind, or split a text into other tokens.
    """
    _check_same_shape(first, second)
    chosen = as_text_set(texts, first.info.family)
    readings = [Reading.of(model, chosen, long=long, seed=seed) for model in (first, second)]
    _check_same_ids(first, second, readings)
    read = readings[0].examples
    shares = _Shares(progress)
    diagnoses = []
    for number, (model, reading) in enumerate(zip((first, second), readings, strict=True)):
        diagnoses.append(
            examine(
                model,
                reading,
                ablate=ablate,
                thresholds=thresholds,
                seed=seed,
                progress=shares.part(number * DIAGNOSES, DIAGNOSES, f"{model.info.name}: "),
            )
        )
    tick = shares.part(2 * DIAGNOSES, 1 - 2 * DIAGNOSES, "")
    began = shares.seconds
    divergence: dict[Kind, np.ndarray] = {}
    shift: dict[Kind, np.ndarray] = {}
    for kind, size in first.info.heads.items():
        divergence[kind] = np.full((*size, len(read)), np.nan)
        shift[kind] = np.full((*size, len(read)), np.nan)
    done = 0
    for group in batches([one.encoded for one in read], BATCH_TOKENS):
        encoded = [read[index].encoded for index in group]
        captured = [
            capture_ids(model, encoded, keep="qkv", predict=False) for model in (first, second)
        ]
        for index, one, other in zip(group, *captured, strict=True):
            for kind in one:
                divergence[kind][..., index] = _divergence(one, other, kind)
                entropies = [metrics.per_head("entropy", each[kind]) for each in (one, other)]
                shift[kind][..., index] = entropies[1] - entropies[0]
        done += len(group)
        if tick is not None:
            tick(Progress("comparing the weights", done / len(read), began))
    return Comparison(
        diagnoses[0],
        diagnoses[1],
        {kind: intervals(values, seed=seed) for kind, values in divergence.items()},
        {kind: intervals(values, seed=seed) for kind, values in shift.items()},
        (*readings[0].notes, *_strangers(first, second)),
    )


def _strangers(first: Model, second: Model) -> tuple[str, ...]:
    """Return a note if neither model can have been made from the other; empty if one may be.

    Models of another type or width share no weights. Otherwise the vectors of the vocabulary are
    compared: those of models that were trained apart have a mean cosine near 0.
    """
    one, other = (model.network.get_input_embeddings().weight for model in (first, second))
    apart = first.info.model_type != second.info.model_type or one.shape[1] != other.shape[1]
    if not apart and one.shape == other.shape:
        with torch.no_grad():
            ours, theirs = (each.detach().to("cpu", torch.float32) for each in (one, other))
            apart = float(torch.cosine_similarity(ours, theirs, dim=-1).mean()) < LEAST_COSINE
    if not apart:
        return ()
    return (
        f"{first.info.name} and {second.info.name} do not seem to be made from one another: heads "
        "of models that were trained apart have no common order, and a comparison head by head "
        "says little",
    )


def _check_same_shape(first: Model, second: Model) -> None:
    """Refuse models of different kinds, layers or heads: no head has a counterpart."""
    one, other = first.info, second.info
    if one.family != other.family:
        raise InputError(
            f"{one.name} is {_FAMILIES[one.family]} and {other.name} {_FAMILIES[other.family]}: "
            "only two models of one kind can be compared head by head. Choose a model that was "
            "made from the other."
        )
    if dict(one.heads) != dict(other.heads):
        raise InputError(
            f"{one.name} has {_shape(first)} and {other.name} has {_shape(second)}: heads are "
            "compared one by one, so both models need the same layers and heads. Choose a model "
            "that was made from the other."
        )


def _shape(model: Model) -> str:
    sizes = [
        f"{layers} layers of {heads} heads" + ("" if kind == "self" else f" ({kind})")
        for kind, (layers, heads) in model.info.heads.items()
    ]
    return ", ".join(sizes)


def _check_same_ids(first: Model, second: Model, readings: Sequence[Reading]) -> None:
    """Refuse two models that read a text as different tokens: their maps have no cell in common."""
    ids, theirs = ([one.encoded.ids for one in reading.examples] for reading in readings)
    if ids != theirs:
        raise InputError(
            f"{first.info.name} and {second.info.name} split these texts into different tokens, so "
            "their maps cannot be laid on each other; compare a model with one fine-tuned from it, "
            "with the same tokenizer"
        )


def _divergence(one: Capture, other: Capture, kind: Kind) -> Float[np.ndarray, "layer head"]:
    """Return the divergence of the same heads in two captures of a text, mean over rows; nats."""
    layers, heads, _, _ = one[kind].shape
    divergences = np.zeros((layers, heads))
    for layer, head in np.ndindex(divergences.shape):
        rows = metrics.jensen_shannon(
            one[kind].weights(layer, head), other[kind].weights(layer, head)
        )
        divergences[layer, head] = mean_over_rows(rows)
    return divergences


class _Shares:
    """Progress of parts as progress of the whole."""

    def __init__(self, progress: Callable[[Progress], None] | None) -> None:
        self.progress = progress
        self.seconds = 0.0

    def part(self, start: float, share: float, prefix: str) -> Callable[[Progress], None] | None:
        """Return the progress callback of a part."""
        report = self.progress
        if report is None:
            return None
        before = self.seconds

        def report_part(one: Progress) -> None:
            self.seconds = before + one.seconds
            report(Progress(prefix + one.stage, start + share * one.share, self.seconds))

        return report_part
