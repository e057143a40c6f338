"""Runs with edits for the page, shared by all visitors with equal requests and equal edits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from attnviz.captures.forward_pass import Capture, capture_ids
from attnviz.experiments.edits.edit_effects import EditEffect, effect_of
from attnviz.experiments.edits.edit_rules import Edit
from attnviz.experiments.edits.edited_model import edited
from attnviz.experiments.edits.heads_off import divergence_without_heads
from attnviz.experiments.edits.masked_tokens import mask_tokens
from attnviz.types import Kind
from attnviz.ui.edit.listed_edits import ListedEdit, Sides, attention_edits, masked_positions
from attnviz.ui.session.capture_cache import Shelf
from attnviz.ui.session.model_cache import CACHE_BYTES, Request, captured, load_model, reading
from attnviz.ui.session.request_ids import request_ids

__all__ = [
    "HeadEffects",
    "edit_effect",
    "edited_capture",
    "head_effects",
    "sides_of",
]

HeadEffects = Mapping[Kind, Float[np.ndarray, "layer head position"]]
"""KL of the prediction at each position when one head is off, nats."""

# Captures with edits are never among those of other pages: a context has edits, a request has not.
_CAPTURES: Shelf[Capture] = Shelf(CACHE_BYTES // 4, entries=64)
_EFFECTS: Shelf[EditEffect] = Shelf(CACHE_BYTES // 16, entries=512)
_HEADS: Shelf[HeadEffects] = Shelf(CACHE_BYTES // 16, entries=128)


def sides_of(capture: Capture) -> Sides:
    """Return the query and key tokens of each kind of attention."""
    return {kind: (capture[kind].query_tokens, capture[kind].key_tokens) for kind in capture.kinds}


def edit_effect(
    request: Request,
    edits: tuple[ListedEdit, ...],
    position: int,
    before: tuple[ListedEdit, ...] = (),
) -> EditEffect:
    """Return what edits do to the predictions; cached.

    Args:
        request: model and text.
        edits: applied in their order.
        position: position of the candidates.
        before: edits of the run that is compared with.

    Raises:
        AttnvizError: an edit does not fit the model or the text.
    """

    def run() -> EditEffect:
        return effect_of(
            load_model(request.model),
            request_ids(request),
            _resolved(request, edits),
            masked=masked_positions(edits),
            before=_resolved(request, before),
            masked_before=masked_positions(before),
            position=position,
        )

    return _EFFECTS.get((request, edits, position, before), run, lambda: reading(request))


def edited_capture(request: Request, edits: tuple[ListedEdit, ...]) -> Capture:
    """Return the capture of a request with edits; cached.

    Raises:
        AttnvizError: as `edit_effect`.
    """

    def run() -> Capture:
        model = load_model(request.model)
        encoded = request_ids(request)
        if masked := masked_positions(edits):
            encoded = mask_tokens(model, encoded, masked)
        with edited(model, _resolved(request, edits)):
            return capture_ids(model, [encoded], predict=False)[0].on_host()

    return _CAPTURES.get((request, edits), run, lambda: reading(request))


def _resolved(request: Request, edits: tuple[ListedEdit, ...]) -> tuple[Edit, ...]:
    """Return the edits of attention of a list."""
    sides = sides_of(captured(request))
    return attention_edits(load_model(request.model), edits, sides, begin=request.begin)


def head_effects(request: Request) -> HeadEffects:
    """Return the effect of switching off each head by itself; cached.

    Raises:
        AttnvizError: as `effect_of`.
    """
    return _HEADS.get(
        request,
        lambda: divergence_without_heads(load_model(request.model), request_ids(request)),
        lambda: reading(request),
    )
