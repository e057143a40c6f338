"""Map of a head on the text where it follows the rule of its label most clearly."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from attnviz import words
from attnviz.attention import AttentionStack
from attnviz.attention.stack.map_tiles import grid
from attnviz.doctor import Diagnosis, TextSet
from attnviz.doctor.clearest_text import clearest_text
from attnviz.findings import Finding
from attnviz.types import Head
from attnviz.ui.components.plotly_map import plotly_map
from attnviz.ui.session.model_cache import Request, captured
from attnviz.ui.session.opened_text import show_in_explore, text_request
from attnviz.ui.session.page_links import page_named
from attnviz.views.maps.map_specification import weight_specification

__all__ = ["HeadExample", "head_example", "show_example"]

LONGEST = 96  # tokens; a larger map cannot be read at this size


@dataclass(frozen=True)
class HeadExample:
    """Text of a diagnosis with the weights of a head on it.

    Attributes:
        request: the text as the diagnosis has read it.
        head: the head.
        stack: all weights of the head's kind of attention.
        number: number of the text, from zero.
        count: number of texts.
        by_rule: True if the head's rule has chosen the text.
    """

    request: Request
    head: Head
    stack: AttentionStack
    number: int
    count: int
    by_rule: bool


def head_example(diagnosis: Diagnosis, finding: Finding, texts: TextSet) -> HeadExample | None:
    """Return the text on which a head follows its rule most clearly.

    None if the texts were read in windows, or if the text is too long for a small map.
    """
    example = clearest_text(diagnosis, finding)
    if example is None or len(texts.texts) != diagnosis.texts.count:
        return None
    number, by_rule = example
    text = texts.texts[number]
    request = text_request(diagnosis.model.name, text.source, text.target)
    stack = captured(request)[finding.head.kind]
    if max(stack.shape[2:]) > LONGEST:
        return None
    return HeadExample(request, finding.head, stack, number, diagnosis.texts.count, by_rule)


def show_example(example: HeadExample, family: str) -> None:
    """Show the weights of a head on a text, and the way to this text in Explore."""
    head, stack = example.head, example.stack
    why = (
        "where it follows the rule of its label most clearly"
        if example.by_rule
        else "where it gives least weight to the first token and separators"
    )
    st.markdown(f"**{head.label} on text {example.number + 1} of {example.count}**")
    st.caption(f"Of all texts the one {why}.")
    plotly_map(
        weight_specification(),
        stack.query_tokens.labels,
        stack.key_tokens.labels,
        lambda window: grid(stack, head, window),
        depends_on=(example.request, head),
        selects="none",
        tallest=420,
        filename=f"attnviz-{head.kind}-L{head.layer}H{head.head}-text-{example.number + 1}",
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
        on_click=show_in_explore,
        args=(family, example.request, head),
    ):
        st.switch_page(page_named("heads"))
