"""Predictions on the text of a request with one head switched off."""

from __future__ import annotations

import streamlit as st

from attnviz.experiments.edits.edit_effects import EditEffect, effect_of
from attnviz.experiments.edits.edit_rules import Edit
from attnviz.models.inputs.target_writing import with_target
from attnviz.models.inputs.text_encoding import encode
from attnviz.types import Head
from attnviz.ui.session.model_cache import Request, load_model

__all__ = ["EDITED_TOKENS", "without_head"]

EDITED_TOKENS = 1024
"""Longest text in tokens that is run again with a head switched off."""


@st.cache_resource(max_entries=256, show_spinner=False)
def without_head(request: Request, head: Head, position: int) -> EditEffect:
    """Return the predictions at a position with the head, and with its output set to 0; cached.

    Raises:
        AttnvizError: as `attnviz.effect_of`.
    """
    model = load_model(request.model)
    encoded = encode(
        model,
        model.prompt + request.text,
        pair=request.pair or None,
        target=request.target or None,
        begin=request.begin,
        cut=True,
        limit=EDITED_TOKENS,
    )
    if encoded.target is None and model.info.family == "encoder-decoder":
        encoded = with_target(model, encoded)
    return effect_of(model, encoded, [Edit("zero", head)], position=position, candidates=5)
