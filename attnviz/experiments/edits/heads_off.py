"""Effect of each head of a model on its predictions: many heads in one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.attention import Places
from attnviz.attention.call_changes import changing
from attnviz.attention.recorder import Call
from attnviz.errors import InputError
from attnviz.experiments.edits.edit_rules import check_separate
from attnviz.experiments.prediction_divergence import prediction_divergence
from attnviz.models import Encoded, Model, call_options, model_inputs, vocabulary_size
from attnviz.models.inputs.input_checks import check_encoded
from attnviz.types import Head, Kind

__all__ = ["divergence_without_heads"]

COPY_BYTES = 128 << 20
"""Most bytes of the logits of a batch of copies."""

MOST_COPIES = 16

HeadDivergence = Mapping[Kind, Float[np.ndarray, "layer head position"]]


def divergence_without_heads(
    model: Model, encoded: Encoded, *, progress: Callable[[int, int], None] | None = None
) -> HeadDivergence:
    """Return KL(all heads || without one) of the prediction at each position, nats, per head.

    The output of one head is 0 at a time, in the whole text. Each copy of a batch lacks another
    head.

    Args:
        model: with a trained language head.
        encoded: a text, with a target for an encoder-decoder.
        progress: callback with the number of finished heads and of all. It may raise to cancel.

    Raises:
        InputError: the model predicts no tokens, or runs one module for several layers.
    """
    if not model.predicts:
        raise InputError(f"{model.info.name} predicts no tokens: it has no trained language head")
    check_encoded(model, [encoded])
    check_separate(model, "edited")
    sizes = model.info.heads
    heads = [
        Head(kind, layer, head)
        for kind, (layers, count) in sizes.items()
        for layer in range(layers)
        for head in range(count)
    ]
    (whole,) = _predictions(model, encoded, [None])
    positions = len(whole)
    tables = {kind: np.zeros((*size, positions), np.float32) for kind, size in sizes.items()}
    room = COPY_BYTES // (4 * positions * vocabulary_size(model.network, "target"))
    copies = max(min(MOST_COPIES, room), 1)
    for start in range(0, len(heads), copies):
        part = heads[start : start + copies]
        for head, changed in zip(part, _predictions(model, encoded, part), strict=True):
            divergence = prediction_divergence(whole, changed).cpu().numpy()
            tables[head.kind][head.layer, head.head] = divergence
        if progress is not None:
            progress(start + len(part), len(heads))
    return tables


def _predictions(
    model: Model, encoded: Encoded, heads: list[Head] | list[None]
) -> Float[Tensor, "copy position word"]:
    """Return the logarithms of the predicted probabilities, a copy for each head that is off."""
    inputs = model_inputs(model, [encoded] * len(heads))
    options = call_options(model, model.network)
    with torch.inference_mode(), changing(_HeadsOff(model.sites.places(), heads)):
        logits: Tensor = model.network(**inputs, **options).logits
    if logits.dim() != 3:
        raise InputError(f"{model.info.name} predicts no token at any position")
    return logits.float().log_softmax(-1)


class _HeadsOff:
    """Change of attention calls that switches off another head in each copy of a batch."""

    def __init__(self, places: Places, heads: list[Head] | list[None]) -> None:
        self.places = places
        self.off: dict[tuple[Kind, int], list[tuple[int, int]]] = {}
        for copy, head in enumerate(heads):
            if head is not None:
                self.off.setdefault((head.kind, head.layer), []).append((copy, head.head))

    def call(self, call: Call) -> Call:
        """Return the call as it is."""
        return call

    def output(self, call: Call, output: Tensor) -> Tensor:
        """Return the output with heads of this layer at 0."""
        place = self.places.of(call)
        gates = [] if place is None else self.off.get(place, [])
        if not gates:
            return output
        changed = output.clone()
        for copy, head in gates:
            changed[copy, :, head] = 0
        return changed
