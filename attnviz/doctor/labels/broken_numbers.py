"""NaN and infinity in a diagnosis: where they begin, and on how many texts the loss has none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnviz.captures.forward_pass import capture_ids
from attnviz.captures.origins import broken_weights, origin_of
from attnviz.doctor.measures.all_measures import Measures
from attnviz.doctor.measures.text_losses import TextLosses
from attnviz.experiments.loss_examples import Example
from attnviz.models import Model

__all__ = ["loss_note", "origin_note"]


def origin_note(
    model: Model, examples: Sequence[Example], measures: Measures, losses: TextLosses
) -> str:
    """Return the sentence that names where NaN or infinity begin; empty if all is finite.

    Runs the model once more, on the first text on which a head or the loss is broken, and only if
    there is one, or a weight of the model that is not finite.
    """
    broken = np.zeros(len(examples), bool)
    for table in measures.values.values():
        broken |= (table["not_finite"] > 0).any((0, 1))
    if not broken.any() and losses.broken:
        broken |= (losses.tokens > 0) & ~np.isfinite(losses.sums)
    weights = broken_weights(model.original)
    if not weights and not broken.any():
        return ""
    first = examples[int(broken.argmax())]
    capture = capture_ids(model, [first.encoded], predict=False)[0]
    origin = origin_of(model, capture, weights=weights)
    return "" if origin is None else origin.sentence


def loss_note(losses: TextLosses) -> str:
    """Return a sentence on the texts whose loss is NaN or infinite; empty if there is none."""
    if not losses.broken:
        return ""
    said = f"the loss is NaN or infinite {losses.where}"
    if losses.all_broken:
        return f"{said}: removing a head would show nothing"
    return f"{said}; what removing a head costs is measured on the other texts alone"
