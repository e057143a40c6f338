"""Sentences about the effect of edits on predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnviz import words
from attnviz.experiments.edits.edit_effects import EditEffect, tokens_of_losses
from attnviz.models import Encoded, Model, labels
from attnviz.types import Tokens
from attnviz.written_numbers import nats, percent, signed_nats

__all__ = ["change_sentence", "following_labels", "loss_sentence"]

LISTED = 3  # tokens that are named
LEAST_CHANGE = 0.005
"""Smallest change of a loss that is named, in nats."""


def change_sentence(model: Model, effect: EditEffect, tokens: Tokens) -> str:
    """Return how the likeliest token at a position changes, and the divergence there.

    Args:
        model: of the run.
        effect: of the edits.
        tokens: at whose positions the model predicts.
    """
    if not effect.candidates:
        return "The predictions here are not defined: they are NaN or infinite."
    place = words.quoted(tokens.labels[effect.position])
    where = f"At {place}" if model.info.family == "encoder" else f"After {place}"
    first = max(effect.candidates, key=lambda one: one.before)
    last = max(effect.candidates, key=lambda one: one.after)
    shares = percent(first.before), percent(first.after)
    parts = f"{words.quoted(first.label)} goes from {shares[0]} to {shares[1]}"
    if shares[0] == shares[1]:
        parts = f"{words.quoted(first.label)} stays at {shares[0]}"
    if last.id != first.id:
        parts += f"; {words.quoted(last.label)} is likeliest then, {percent(last.after)}"
    return f"{where}, {parts}. KL {nats(float(effect.divergence[effect.position]))} nats."


def following_labels(model: Model, encoded: Encoded, masked: Sequence[int]) -> dict[int, str]:
    """Return the label of the token whose loss is taken at each position."""
    wanted = tokens_of_losses(model, encoded, masked)
    named = labels(model.vocabulary, list(wanted.values()))
    return dict(zip(wanted, named, strict=True))


def loss_sentence(effect: EditEffect, following: dict[int, str]) -> str:
    """Return which tokens got more and less expensive, and the change of the mean loss."""
    change = effect.after - effect.before
    known = np.flatnonzero(np.isfinite(change))
    if not len(known):
        return ""
    before, after = (float(one[known].mean()) for one in (effect.before, effect.after))
    total = f"Mean loss {nats(before)} → {nats(after)} nats ({signed_nats(after - before)})."
    order = known[np.argsort(-change[known])]
    up = [place for place in order[:LISTED] if change[place] > LEAST_CHANGE]
    down = [place for place in order[::-1][:LISTED] if change[place] < -LEAST_CHANGE]
    parts = [total]
    if up:
        parts.append(f"Harder: {_listed(up, change, following)}.")
    if down:
        parts.append(f"Easier: {_listed(down, change, following)}.")
    return " ".join(parts)


def _listed(places: Sequence[int], change: np.ndarray, following: dict[int, str]) -> str:
    return ", ".join(
        f"{words.quoted(following[int(place)])} ({signed_nats(float(change[place]))})"
        for place in places
    )
