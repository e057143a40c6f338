"""Effects of removing heads on the loss: from intervals to a verdict and to sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum

from attnviz.doctor.labels.number_words import per_token
from attnviz.findings import Interval, Replacement, Verdict
from attnviz.sentences import capitalized

__all__ = ["VERDICTS", "Effect", "decisive", "effect", "removal_sentence", "verdict"]


class Effect(Enum):
    """Effect of a replacement on the loss, decided by the whole interval of the change."""

    COSTS = "wholly above the tolerance"
    LITTLE = "above 0, neither wholly above nor wholly within the tolerance"
    NOTHING = "within the tolerance on both sides"
    HELPS = "below 0, not within the tolerance"
    OPEN = "contains 0 and reaches beyond the tolerance"
    ONE_TEXT = "one text, no interval"


VERDICTS: Mapping[Effect, Verdict] = {
    Effect.COSTS: Verdict.NEEDED,
    Effect.LITTLE: Verdict.NEEDED,
    Effect.NOTHING: Verdict.NO_DIFFERENCE,
    Effect.HELPS: Verdict.BETTER_WITHOUT,
    Effect.OPEN: Verdict.UNCLEAR,
    Effect.ONE_TEXT: Verdict.UNCLEAR,
}
"""Verdict of each effect; heads without a measured effect are `NOT_TESTED`."""


def decisive(ablation: Mapping[Replacement, Interval]) -> Interval | None:
    """Return the effect that decides the verdict: by zero; by the mean if zero was not tried."""
    return ablation.get("zero", ablation.get("mean"))


def effect(change: Interval | None, tolerance: float) -> Effect | None:
    """Return the effect of a replacement; None if it was not measured.

    Args:
        change: change of the loss, nats per token.
        tolerance: changes below this count as nothing, nats per token.
    """
    if change is None or math.isnan(change.mean):
        return None
    if math.isnan(change.low):
        return Effect.ONE_TEXT
    if change.low > tolerance:
        return Effect.COSTS
    if change.high < tolerance and change.low > -tolerance:
        return Effect.NOTHING
    if change.low > 0:
        return Effect.LITTLE
    return Effect.HELPS if change.high < 0 else Effect.OPEN


def verdict(change: Interval | None, tolerance: float) -> Verdict:
    """Return the verdict of a change of the loss."""
    outcome = effect(change, tolerance)
    return Verdict.NOT_TESTED if outcome is None else VERDICTS[outcome]


def removal_sentence(
    change: Interval, tolerance: float, what: str = "removing it", then: str = ""
) -> str:
    """Return the sentence for the effect of a replacement, with its interval.

    Args:
        change: change of the loss, nats per token.
        tolerance: changes below this count as nothing, nats per token.
        what: the replacement, as the subject of the sentence.
        then: conclusion from a replacement that costs more than the tolerance.
    """
    subject = capitalized(what)
    outcome = effect(change, tolerance)
    if outcome is Effect.COSTS:
        return f"{subject} costs {per_token(change)}{f': {then}' if then else ''}."
    if outcome is Effect.LITTLE:
        return f"{subject} costs something, perhaps less than {tolerance:g}: {per_token(change)}."
    if outcome is Effect.NOTHING:
        beyond = f"no difference of more than {tolerance:g}"
        return f"{subject} makes {beyond}: the loss changes by {per_token(change)}."
    if outcome is Effect.HELPS:
        return f"{subject} makes the model better: the loss falls by {per_token(_turned(change))}."
    if outcome is Effect.OPEN:
        return f"Whether {what} changes the loss is unclear: {per_token(change)}."
    if outcome is Effect.ONE_TEXT:
        return (
            f"On the only text, {what} changes the loss by {per_token(change)}; one text allows no "
            "interval."
        )
    return ""


def _turned(change: Interval) -> Interval:
    """Return a change of the loss as a fall."""
    return Interval(-change.mean, -change.high, -change.low, change.spread, change.texts)
