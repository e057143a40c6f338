"""Losses of the whole model on each text: their mean, those that are not finite, differences."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from attnviz.doctor.measures.bootstrap import ratios
from attnviz.experiments.ablation import ablate
from attnviz.experiments.loss_examples import Example
from attnviz.findings import Interval
from attnviz.models import Model

__all__ = ["TextLosses", "difference", "text_losses"]

UNKNOWN = Interval(math.nan, math.nan, math.nan, math.nan, 0)


def _nothing() -> np.ndarray:
    return np.zeros(0)


@dataclass(frozen=True, eq=False)
class TextLosses:
    """Loss of a model with all its heads on each text; without texts where there is no loss.

    Attributes:
        sums: summed loss of each text, nats; NaN for a text without a target token.
        tokens: number of target tokens of each text.
        targets: digest of all inputs and target tokens; losses of two models can be compared text
            by text if it is the same.
    """

    sums: Float[np.ndarray, " text"] = field(default_factory=_nothing)
    tokens: Int[np.ndarray, " text"] = field(default_factory=_nothing)
    targets: str = ""

    @property
    def counted(self) -> int:
        """Return the number of texts that have a loss, finite or not."""
        return int((self.tokens > 0).sum())

    @property
    def broken(self) -> int:
        """Return the number of texts whose loss is NaN or infinite."""
        return int(((self.tokens > 0) & ~np.isfinite(self.sums)).sum())

    @property
    def all_broken(self) -> bool:
        """Return True if there is a loss and it is NaN or infinite on every text."""
        return 0 < self.counted == self.broken

    @property
    def where(self) -> str:
        """Return "on all 12 texts" or "on 3 of 12 texts": the texts of `broken`."""
        if self.counted == 1:
            return "on the only text"
        part = f"all {self.counted}" if self.all_broken else f"{self.broken} of {self.counted}"
        return f"on {part} texts"

    def mean(self, *, seed: int) -> Interval:
        """Return the loss per token over the texts where it is finite, nats."""
        if not self.counted:
            return UNKNOWN
        return ratios(self.sums, self.tokens.astype(np.float64), seed=seed).at()


def text_losses(model: Model, examples: Sequence[Example]) -> TextLosses:
    """Return the loss of a model on each text: one forward pass, no head is removed."""
    if not any(example.loss_inputs for example in examples):
        return TextLosses()
    baseline = ablate(model, examples, replacements=())
    read = [
        (one.encoded.ids, one.encoded.target, one.positions, one.target_ids)
        for example in examples
        for one in example.loss_inputs
    ]
    digest = hashlib.sha256(json.dumps(read).encode()).hexdigest()
    return TextLosses(baseline.baseline, baseline.tokens, digest)


def difference(first: TextLosses, second: TextLosses, *, seed: int) -> Interval | None:
    """Return the loss of a second model minus that of a first, nats per token.

    The interval is of the differences, text by text: what makes a text hard for both models does
    not widen it. None if the models predict other tokens, or if a loss is not finite.
    """
    if not first.counted or first.targets != second.targets or first.broken or second.broken:
        return None
    return ratios(second.sums - first.sums, first.tokens.astype(np.float64), seed=seed).at()
