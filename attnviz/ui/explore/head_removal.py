"""Predictions on the text of a request with one head switched off."""

from __future__ import annotations

import streamlit as st

from attnviz.experiments.edits.edit_effects import EditEffect, effect_of
from attnviz.experiments.edits.edit_rules import Edit
from attnviz.types import Head
from attnviz.ui.session.model_cache import Request, load_model
from attnviz.ui.session.request_ids import request_ids

__all__ = ["without_head"]


@st.cache_resource(max_entries=256, show_spinner=False)
def without_head(request: Request, head: Head, position: int) -> EditEffect:
    """Return the predictions at a position with the head, and with its output set to 0; cached.

    Raises:
        AttnvizError: as `attnviz.effect_of`.
    """
    model = load_model(request.model)
    encoded = request_ids(request)
    return effect_of(model, encoded, [Edit("zero", head)], position=position, candidates=5)
