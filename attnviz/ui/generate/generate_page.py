"""Page that continues the text of the side bar token by token."""

from __future__ import annotations

import streamlit as st

from attnviz.experiments.generation.sampling import Sampling
from attnviz.models import Model
from attnviz.ui.explore.head_picker import choose_kind, menus
from attnviz.ui.explore.weight_panel import row_note
from attnviz.ui.generate.cache_panel import show_cache
from attnviz.ui.generate.candidate_panel import STEP, choose_step, show_candidates
from attnviz.ui.generate.generation_jobs import begin, finish, running, show_running
from attnviz.ui.generate.growing_map import show_all_heads, show_growing_map
from attnviz.ui.generate.sampling_settings import choose_count, choose_sampling
from attnviz.ui.generate.written_text import WRITTEN, Written
from attnviz.ui.session.model_cache import Request, captured, load_model
from attnviz.ui.session.plain_text import Strong, plain, show_plain
from attnviz.ui.session.state import default_head

__all__ = ["MOST_PROMPT", "generate_page"]

MOST_PROMPT = 1024
"""Most tokens of a prompt on this page: the map of a head is drawn from all its weights."""


def generate_page(request: Request) -> None:
    """Show the page for the text and the model of the side bar."""
    st.header("Generate, token by token", anchor=False)
    model = load_model(request.model)
    if model.info.family == "encoder":
        st.info(
            f"{plain(request.model)} fills in masked tokens and continues no text; choose a GPT or "
            "a T5 in the side bar.",
            icon=":material/info:",
        )
        return
    finish()
    written = Written.current(request, model)
    tokens = len(written.prompt)
    if max(tokens, len(written.encoded.ids)) > MOST_PROMPT:
        st.info(
            f"This page continues texts of at most {MOST_PROMPT:,} tokens, and this one has "
            f"{max(tokens, len(written.encoded.ids)):,}. Shorten it in the side bar.",
            icon=":material/info:",
        )
        return
    both = model.info.family == "encoder-decoder"
    limit = model.info.max_target_tokens if both else model.info.max_tokens
    room = 10**6 if limit is None else limit - len(written.ids)
    sampling = choose_sampling(model)
    growing = running()
    _buttons(model, written, sampling, room, disabled=growing is not None)
    if growing is not None:
        written = growing.text
        _text(model, written)
        show_running()
        return
    _text(model, written)
    if not written.steps:
        st.caption("Nothing is generated yet. Press one of the buttons.")
    else:
        _attention(model, written)
    show_cache(model, written)


def _buttons(
    model: Model, written: Written, sampling: Sampling, room: int, *, disabled: bool
) -> None:
    """Show the buttons that continue the text or take tokens back."""
    over = disabled or written.ended or room < 1
    with st.container(horizontal=True, vertical_alignment="bottom"):
        count = choose_count(room)
        many = st.button(
            f"Write {count} tokens", type="primary", icon=":material/play_arrow:",
            key="write_many", disabled=over,
        )  # fmt: skip
        single = st.button("One token", icon=":material/add:", key="write_one", disabled=over)
        st.button(
            "Take one back", icon=":material/undo:", key="take_back",
            disabled=disabled or not written.steps,
            on_click=_keep, args=(written.first(len(written.steps) - 1),),
        )  # fmt: skip
        st.button(
            "Start again", icon=":material/restart_alt:", key="start_again",
            disabled=disabled or not written.steps, on_click=_keep, args=(written.first(0),),
        )  # fmt: skip
    if written.ended:
        st.caption("The model has ended its text. Choose another token, or start again.")
    elif room < 1:
        st.caption("The model has no position left for a new token.")
    if many or single:
        st.session_state.pop(STEP, None)
        begin(model, written, sampling, count if many else 1)
        st.rerun()


def _keep(written: Written) -> None:
    st.session_state[WRITTEN] = written
    st.session_state.pop(STEP, None)


def _text(model: Model, written: Written) -> None:
    """Show the prompt, and in bold what was generated."""
    labels = written.labels()
    shown = 1 if written.encoded.target is not None else 0
    start = _spaced(labels[shown : len(written.prompt)])
    new = _spaced(labels[len(written.prompt) :])
    show_plain(start, Strong(new))
    if written.steps:
        st.caption(
            f"{len(written.steps)} new token{'s' if len(written.steps) > 1 else ''} after "
            f"{len(written.prompt)} of the prompt."
        )


def _spaced(labels: tuple[str, ...]) -> str:
    """Return labels as a text: the sign of a leading space becomes a space."""
    return "".join(labels).replace("·", " ")


def _attention(model: Model, written: Written) -> None:
    """Show the candidates of a step, the growing map of a head, and the row in every head."""
    kinds = tuple(kind for kind in model.info.heads if kind in written.steps[-1].rows)
    left, right = st.columns([5, 7], gap="medium")
    with left:
        place = choose_step(written)
        show_candidates(written, place)
    with right:
        kind = choose_kind(kinds)
        head = menus(model.info, kind, default_head(captured(written.request), kind))
        row_note(head)
        show_growing_map(written, head, place)
        st.caption(
            "A row is added per new token. It belongs to the token that was read before it; the "
            "last token was not read yet."
        )
    position = written.steps[place].position
    st.markdown(f"**Every head, for the token read at position {position}**")
    show_all_heads(written, head, place)
