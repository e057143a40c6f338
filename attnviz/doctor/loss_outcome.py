"""Losses of two models beside each other: which is lower, and the words for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from attnviz.doctor.diagnosis import Diagnosis
from attnviz.doctor.labels.number_words import per_token
from attnviz.doctor.labels.removal_effects import Effect, effect
from attnviz.doctor.measures.text_losses import difference
from attnviz.findings import Interval

__all__ = ["LossOutcome", "TwoLosses"]


class LossOutcome(StrEnum):
    """Loss of a second model beside that of a first. NaN and infinity are never good."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "no difference"
    UNCLEAR = "unclear"
    NOT_FINITE = "not finite"
    NOT_MEASURED = "not measured"


OUTCOMES = {
    Effect.COSTS: LossOutcome.WORSE,
    Effect.LITTLE: LossOutcome.WORSE,
    Effect.NOTHING: LossOutcome.SAME,
    Effect.HELPS: LossOutcome.BETTER,
    Effect.OPEN: LossOutcome.UNCLEAR,
    Effect.ONE_TEXT: LossOutcome.UNCLEAR,
}


@dataclass(frozen=True)
class TwoLosses:
    """Losses of two models on the same texts.

    Attributes:
        first: the diagnosis of the first model.
        second: of the second.
    """

    first: Diagnosis
    second: Diagnosis

    @cached_property
    def difference(self) -> Interval | None:
        """Return the second loss minus the first, nats per token, by text; None if unknown."""
        return difference(self.first.losses, self.second.losses, seed=self.first.seed)

    @cached_property
    def outcome(self) -> LossOutcome:
        """Return which loss is lower.

        Decided by the differences text by text, with the tolerance of the first diagnosis; where
        the models predicted other tokens, by whether the intervals of both losses meet. A second
        model whose loss is NaN or infinite on more texts is worse; where only the first one's is,
        or both, the losses cannot be compared.
        """
        if self.second.losses.broken > self.first.losses.broken:
            return LossOutcome.WORSE
        if self.first.losses.broken:
            return LossOutcome.NOT_FINITE
        one, other = self.first.loss, self.second.loss
        if math.isnan(one.mean) or math.isnan(other.mean):
            return LossOutcome.NOT_MEASURED
        between = effect(self.difference, self.first.thresholds.tolerance)
        if between is not None:
            return OUTCOMES[between]
        if other.low > one.high:
            return LossOutcome.WORSE
        return LossOutcome.BETTER if other.high < one.low else LossOutcome.UNCLEAR

    @property
    def sentence(self) -> str:
        """Return both losses in words, and what follows; empty if there are none."""
        if self.outcome is LossOutcome.NOT_MEASURED:
            return ""
        first, second = self.first.model.name, self.second.model.name
        losses = f"Loss: {_loss(self.first)} in {first}, {_loss(self.second)} in {second}"
        return f"{losses}: {self._conclusion}."

    @property
    def _conclusion(self) -> str:
        first, second = self.first.model.name, self.second.model.name
        outcome, apart = self.outcome, self.difference
        if self.first.losses.broken or self.second.losses.broken:
            if outcome is LossOutcome.WORSE:
                return f"{second} is broken"
            both = self.second.losses.broken
            which = "both models are broken" if both else f"{first} is broken"
            return f"{which}, and the losses cannot be compared"
        if outcome in (LossOutcome.WORSE, LossOutcome.BETTER):
            by = "" if apart is None else f", by {per_token(_size(apart))}"
            return f"{second} is {outcome} on these texts{by}"
        if apart is None:
            return "the intervals overlap"
        if outcome is LossOutcome.SAME:
            limit = f"{self.first.thresholds.tolerance:g}"
            return f"no difference of more than {limit} nats per token"
        if math.isnan(apart.low):
            return "one text cannot show which model is better"
        return f"which model is better is unclear, the difference is {per_token(apart)}"


def _loss(diagnosis: Diagnosis) -> str:
    losses, mean = diagnosis.losses, diagnosis.loss
    if not losses.broken:
        return per_token(mean)
    others = "" if math.isnan(mean.mean) else f" ({per_token(mean)} on the others)"
    return f"NaN or infinite {losses.where}{others}"


def _size(change: Interval) -> Interval:
    """Return a change without its sign."""
    if change.mean >= 0:
        return change
    return Interval(-change.mean, -change.high, -change.low, change.spread, change.texts)
