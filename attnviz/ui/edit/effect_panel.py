"""Effect of edits on the predictions: candidates at a position, and lines over the text."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st

from attnviz.experiments.edits.edit_effects import EditEffect
from attnviz.models import Model
from attnviz.types import Tokens
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.checked_reports import first_item, index, record
from attnviz.ui.components.choices import choice
from attnviz.ui.components.figures_and_tables import show_picture
from attnviz.ui.edit.edit_runs import edit_effect
from attnviz.ui.edit.edit_sentences import change_sentence, following_labels, loss_sentence
from attnviz.ui.edit.listed_edits import ListedEdit, masked_positions
from attnviz.ui.session.model_cache import Request
from attnviz.ui.session.plain_text import Strong, show_plain
from attnviz.ui.session.request_ids import request_ids
from attnviz.views.charts.candidate_bars import draw_candidates
from attnviz.views.charts.token_lines import draw_token_lines

__all__ = ["POSITION", "show_effect"]

POSITION = "edit_position"
"""Key of the session with the position whose candidates are shown."""

CANDIDATES = 6
"""Tokens with bars."""


def show_effect(
    model: Model,
    request: Request,
    edits: tuple[ListedEdit, ...],
    before: tuple[ListedEdit, ...],
    position: int,
    tokens: Tokens,
) -> None:
    """Show the candidates before and after, and the change at every position.

    Args:
        model: of the request.
        request: model and text.
        edits: all edits of the list that fit.
        before: edits of the run that is compared with.
        position: of the candidates.
        tokens: at whose positions the model predicts.

    Raises:
        AttnvizError: an edit does not fit the text.
    """
    effect = edit_effect(request, edits, position, before)
    if edits:
        show_plain(Strong(change_sentence(model, effect, tokens)))
    listed = effect.candidates[:CANDIDATES]
    states = {"before": [one.before for one in listed]}
    if edits:
        states["after"] = [one.after for one in listed]
    show_picture(
        draw_candidates([one.label for one in listed], states, theme=current_theme()),
        key="edit_candidates",
        filename="attnviz-edit-candidates",
        alt=change_sentence(model, effect, tokens),
    )
    if edits:
        following = following_labels(model, request_ids(request), masked_positions(edits))
        _lines(effect, following, tokens, position)
        show_plain(loss_sentence(effect, following), small=True)


def _lines(effect: EditEffect, following: dict[int, str], tokens: Tokens, position: int) -> None:
    """Draw the divergence or the losses at all positions; a click on a point chooses it."""
    lines = {"kl": "KL at each position", "loss": "Loss"}
    which = "kl"
    if following:
        which = choice("Show", lines, "edit_line", show_label=False)
    if which == "loss":
        curves = {"before": effect.before, "after": effect.after}
        gaps = len(following) < len(tokens) - 1
        label = "loss of the masked token" if gaps else "loss of the next token"
    else:
        curves = {"after the edits": effect.divergence}
        label = "KL of the prediction"
    show_picture(
        draw_token_lines(
            {name: np.asarray(one, np.float32) for name, one in curves.items()},
            tokens,
            label=label,
            unit="nats",
            theme=current_theme(),
            height=260,
            selected=position,
        ),
        key="edit_lines",
        filename="attnviz-edit-positions",
        alt=f"{label} at each position, before and after the edits",
        on_click=partial(_choose, len(tokens)),
    )
    st.caption("Click a point to see the candidates there.")


def _choose(count: int) -> None:
    """Show the candidates at the position that was clicked."""
    points = record(st.session_state.get("edit_lines"), "selection").get("points")
    place = index(record(first_item(points)).get("point_index"), count)
    if place is not None:
        st.session_state[POSITION] = place
