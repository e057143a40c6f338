"""Map of a head on the text where it follows the rule of its label most clearly."""

from __future__ import annotations

import streamlit as st

from attnviz import words
from attnviz.attention.stack.map_tiles import grid
from attnviz.doctor import Diagnosis, TextSet
from attnviz.doctor.clearest_text import clearest_text
from attnviz.experiments.loss_examples import translates
from attnviz.findings import Finding
from attnviz.types import Head
from attnviz.ui.components.plotly_map import plotly_map
from attnviz.ui.session import state
from attnviz.ui.session.example_texts import Example
from attnviz.ui.session.model_cache import Request, captured, load_model
from attnviz.ui.session.page_links import page_named
from attnviz.views.maps.map_specification import weight_specification

__all__ = ["head_example"]

LONGEST = 96  # tokens; a larger map cannot be read at this size


def head_example(diagnosis: Diagnosis, finding: Finding, texts: TextSet) -> None:
    """Show the weights of a head on one of the texts, and the way to this text in Explore.

    Nothing is shown if the texts were read in windows, or if the text is too long for a small map.
    """
    example = clearest_text(diagnosis, finding)
    if example is None or len(texts.texts) != diagnosis.texts.count:
        return
    number, by_rule = example
    head, request = finding.head, _request(diagnosis.model.name, texts, number)
    stack = captured(request)[head.kind]
    if max(stack.shape[2:]) > LONGEST:
        return
    why = (
        "where it follows the rule of its label most clearly"
        if by_rule
        else "where it gives least weight to the first token and separators"
    )
    st.markdown(f"**{head.label} on text {number + 1} of {diagnosis.texts.count}**")
    st.caption(f"Of all texts the one {why}.")
    plotly_map(
        weight_specification(),
        stack.query_tokens.labels,
        stack.key_tokens.labels,
        lambda window: grid(stack, head, window),
        depends_on=(request, head),
        selects="none",
        tallest=420,
        filename=f"attnviz-{head.kind}-L{head.layer}H{head.head}-text-{number + 1}",
        alt=f"{head.label} {words.headline(stack, head.layer, head.head)}",
        key="diagnosis_example",
    )
    if st.button(
        "Open head and text in Explore",
        icon=":material/grid_on:",
        type="tertiary",
        key="diagnosis_explore",
        help="Every weight, query and key of this head on this text. The text replaces the one in "
        "the side bar.",
        on_click=_take,
        args=(diagnosis.model.family, request, head),
    ):
        st.switch_page(page_named("heads"))


def _request(model_name: str, texts: TextSet, number: int) -> Request:
    """Return the request for one text, as the diagnosis has read it."""
    model, text = load_model(model_name), texts.texts[number]
    both = model.info.family == "encoder-decoder"
    prompt = (translates(model) or "") if both and not model.prompt else ""
    return Request(model_name, prompt + text.source, target=(text.target or "") if both else "")


def _take(family: str, request: Request, head: Head) -> None:
    """Put the text into the side bar and choose the head."""
    state.fill(state.text_keys(family), Example("", request.text, "", request.target))
    state.choose_head(head)
