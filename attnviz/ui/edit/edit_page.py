"""Page that edits attention and shows what changes."""

from __future__ import annotations

import streamlit as st

from attnviz.captures.forward_pass import Capture
from attnviz.errors import AttnvizError, InputError
from attnviz.experiments.edits.masked_tokens import mask_id
from attnviz.models import Model
from attnviz.types import Head, Tokens
from attnviz.ui.components.choices import choice
from attnviz.ui.edit.edit_form import choose_edit, token_menu
from attnviz.ui.edit.edit_links import MOST_EDITS
from attnviz.ui.edit.edit_list import (
    can_undo,
    change,
    clear,
    current_edits,
    edits_to_link,
    link_notice,
    remove,
    undo,
)
from attnviz.ui.edit.edit_runs import HeadEffects, edit_effect, edited_capture, sides_of
from attnviz.ui.edit.edited_maps import show_maps
from attnviz.ui.edit.effect_panel import POSITION, show_effect
from attnviz.ui.edit.head_effects_panel import (
    all_head_effects,
    best_position,
    show_head_effects,
    show_suggestions,
)
from attnviz.ui.edit.listed_edits import (
    ListedEdit,
    MaskedToken,
    RowsOfText,
    Sides,
    check_listed,
    listed_label,
    masked_positions,
)
from attnviz.ui.explore.explore_page import read
from attnviz.ui.explore.head_picker import choose_kind, menus
from attnviz.ui.session.model_cache import Request, captured, load_model
from attnviz.ui.session.plain_text import plain
from attnviz.ui.session.request_ids import EDITED_TOKENS
from attnviz.ui.session.state import default_head

__all__ = ["edit_page"]

READ = "edit_read"
"""Key of the session with the request of the last run: another text has another position."""


def edit_page(request: Request) -> None:
    """Show the page for the text and the model of the side bar."""
    st.header("What if…? Edit attention", anchor=False)
    read(request)
    model = load_model(request.model)
    capture = captured(request)
    if not _can_edit(model, capture):
        return
    sides = sides_of(capture)
    side = "decoder" if model.info.family == "encoder-decoder" else capture.kinds[0]
    tokens = sides[side][0]
    edits = current_edits()
    fitting = _fitting(model, edits, sides)
    left, right = st.columns([5, 7], gap="medium")
    with left:
        longest = max(max(capture[kind].shape[2:]) for kind in capture.kinds)
        effects = all_head_effects(model, request, longest)
        _first_position(model, request, fitting, effects, tokens)
        kind = choose_kind(capture.kinds)
        head = menus(model.info, kind, default_head(capture, kind))
        _form(model, request, capture, head, edits, fitting)
        _list(model, edits, sides)
        place = st.container()
    with right:
        position = token_menu(_position_label(model), tokens, POSITION)
        if not edits:
            show_suggestions(model, request, effects, position, tokens)
        before = _compared_with(fitting)
        try:
            show_effect(model, request, fitting, before, position, tokens)
            captures = _captures(request, fitting, before)
        except AttnvizError as error:
            st.error(f"{plain(str(error))}. Remove an edit, or undo.", icon=":material/error:")
            captures = None
    if effects is not None:
        with place:
            show_head_effects(effects, head, position, tokens)
    if captures is not None:
        show_maps(captures, (request, before), (request, fitting), fitting, head)
    edits_to_link()


def _compared_with(edits: tuple[ListedEdit, ...]) -> tuple[ListedEdit, ...]:
    """Return the edits of the run that is compared with; show a choice where there are several."""
    if len(edits) < 2:
        return ()
    against = choice(
        "Before is",
        {"none": "Without edits", "last": "Without the last edit"},
        "edit_before",
        explanation="What the bars, lines and maps named “before” show.",
    )
    return edits[:-1] if against == "last" else ()


def _captures(
    request: Request, edits: tuple[ListedEdit, ...], before: tuple[ListedEdit, ...]
) -> tuple[Capture, Capture] | None:
    """Return the captures before and after; None without edits."""
    if not edits:
        return None
    first = edited_capture(request, before) if before else captured(request)
    return first, edited_capture(request, edits)


def _can_edit(model: Model, capture: Capture) -> bool:
    """Return whether a model predicts tokens and the text is short enough; else show why not."""
    tokens = max(max(capture[kind].shape[2:]) for kind in capture.kinds)
    if not model.predicts:
        reason = (
            f"{model.info.name} predicts no tokens, so there is no prediction that could change. "
            "Choose a model with a language head in the side bar."
        )
    elif tokens > EDITED_TOKENS:
        reason = (
            f"This page edits texts of at most {EDITED_TOKENS:,} tokens, and this one has "
            f"{tokens:,}. Shorten it in the side bar."
        )
    else:
        return True
    st.info(plain(reason), icon=":material/info:")
    edits_to_link()
    return False


def _fitting(model: Model, edits: tuple[ListedEdit, ...], sides: Sides) -> tuple[ListedEdit, ...]:
    """Return the edits that fit the model and the length of the text."""
    return tuple(edit for edit in edits if not _misfit(model, edit, sides))


def _misfit(model: Model, edit: ListedEdit, sides: Sides) -> str:
    """Return why an edit does not fit; empty if it does."""
    try:
        check_listed(model, edit, sides)
    except InputError as error:
        return f"{error}."
    return ""


def _position_label(model: Model) -> str:
    return "Prediction at" if model.info.family == "encoder" else "Prediction after"


def _first_position(
    model: Model,
    request: Request,
    edits: tuple[ListedEdit, ...],
    effects: HeadEffects | None,
    tokens: Tokens,
) -> None:
    """Choose the position that is shown first of a new text.

    The last one of a decoder, the gap of an encoder, else the one where the heads matter most.
    """
    if st.session_state.get(READ) == request and POSITION in st.session_state:
        return
    st.session_state[READ] = request
    gaps = list(masked_positions(edits))
    gaps += [at for at, one in enumerate(tokens.ids.tolist()) if one == mask_id(model)]
    if model.info.family == "decoder":
        st.session_state[POSITION] = len(tokens) - 1
    else:
        st.session_state[POSITION] = (
            gaps[0] if gaps else best_position(model, request, effects, len(tokens))
        )


def _form(
    model: Model,
    request: Request,
    capture: Capture,
    head: Head,
    edits: tuple[ListedEdit, ...],
    fitting: tuple[ListedEdit, ...],
) -> None:
    """Show the controls of an edit and the button that adds it to the list."""
    try:
        edit: ListedEdit | None = choose_edit(model, capture[head.kind], head)
        problem = ""
    except InputError as error:
        edit, problem = None, f"{error}."
    if not st.button("Add this edit", type="primary", icon=":material/add:", key="edit_add"):
        return
    if edit is not None and len(edits) >= MOST_EDITS:
        edit, problem = None, f"A list holds at most {MOST_EDITS} edits. Remove one first."
    if edit is not None:
        try:
            edit_effect(request, (*fitting, edit), 0)
        except AttnvizError as error:
            edit, problem = None, f"{error}."
    if edit is None:
        st.error(plain(problem), icon=":material/error:")
        return
    if isinstance(edit, MaskedToken):
        st.session_state[POSITION] = edit.token
    change((*edits, edit))
    st.rerun()


def _list(model: Model, edits: tuple[ListedEdit, ...], sides: Sides) -> None:
    """Show the edits, each with a button that removes it, and what the link could not carry."""
    notice = link_notice()
    if notice.without_text:
        st.warning(
            "An edit of this link takes rows from another text. Links carry no text: add it again.",
            icon=":material/link_off:",
        )
    if notice.unreadable:
        st.warning("A part of this link is no edit and was left out.", icon=":material/link_off:")
    with st.container(key="edit_list", gap="small"):
        for place, edit in enumerate(edits):
            st.button(
                plain(listed_label(edit, sides)), icon=":material/close:", type="tertiary",
                key=f"edit_remove:{place}", on_click=remove, args=(place,),
                help="Remove this edit",
            )  # fmt: skip
            if misfit := _misfit(model, edit, sides):
                st.caption(f":material/warning: Not applied: {plain(misfit)}")
        with st.container(horizontal=True):
            st.button(
                "Undo", icon=":material/undo:", key="edit_undo", on_click=undo,
                disabled=not can_undo(),
            )  # fmt: skip
            st.button(
                "Clear", icon=":material/delete_sweep:", key="edit_clear", on_click=clear,
                disabled=not edits,
            )  # fmt: skip
    if any(isinstance(edit, RowsOfText) for edit in edits):
        st.caption("The address carries all edits but rows of another text.")
