"""Page with the cache of keys and values: what it saves, its size, its layers, and its limits."""

from __future__ import annotations

import streamlit as st

from attnviz.errors import AttnvizError
from attnviz.models import Model
from attnviz.ui.explore.explore_page import read
from attnviz.ui.generate.written_text import prompt_of
from attnviz.ui.laboratory.break_prediction import show_break
from attnviz.ui.laboratory.saving_panel import show_saving
from attnviz.ui.laboratory.stack_panel import show_layers, show_memory
from attnviz.ui.learn.lesson_button import lesson_button
from attnviz.ui.server.run_places import in_turn
from attnviz.ui.session.error_messages import explained, show_reason
from attnviz.ui.session.model_cache import Request, load_model
from attnviz.ui.session.page_links import page_named

__all__ = ["MOST_READ", "cache_page"]

MOST_READ = 512
"""Tokens of the text that are read here."""


def cache_page(request: Request) -> None:
    """Show the page for the text and the model of the side bar."""
    st.header("The cache of keys and values", anchor=False)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.page_link(
            page_named("laboratory"),
            label="Lab: efficient attention on a head",
            icon=":material/science:",
        )
        lesson_button("cache")
    model = load_model(request.model)
    if model.info.family != "decoder" or not model.predicts:
        st.info(
            "A cache is for models that continue a text. Choose a GPT in the side bar.",
            icon=":material/info:",
        )
        return
    read(request)
    ids = prompt_of(model, request).ids[:MOST_READ]
    _saving(model, ids)
    _memory(model, ids)
    _layers(model)
    _break(model, ids)
    st.page_link(
        page_named("generate"),
        label="Generate: continue the text, and cut its cache",
        icon=":material/edit_note:",
    )


@st.fragment
@in_turn
@explained()
def _saving(model: Model, ids: tuple[int, ...]) -> None:
    try:
        show_saving(model, ids)
    except AttnvizError as error:
        show_reason(str(error))


@st.fragment
@in_turn
@explained()
def _memory(model: Model, ids: tuple[int, ...]) -> None:
    show_memory(model, ids)


@st.fragment
@explained()
def _layers(model: Model) -> None:
    show_layers(model)


@st.fragment
@in_turn
@explained()
def _break(model: Model, ids: tuple[int, ...]) -> None:
    show_break(model, ids)
