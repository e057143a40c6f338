"""First line of Explore: the name of the head, menus for layer and head, and the pin."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from attnviz import words
from attnviz.captures.forward_pass import Capture
from attnviz.types import KIND_LABELS, Head
from attnviz.ui.explore.head_picker import choose_kind, head_menus
from attnviz.ui.explore.unit_choice import Units, choose_units
from attnviz.ui.session import state
from attnviz.ui.session.model_cache import Request
from attnviz.ui.session.plain_text import show_plain
from attnviz.written_numbers import decimals

__all__ = ["head_title", "title_line"]


def title_line(capture: Capture, request: Request) -> tuple[Head, Units]:
    """Show the line and the sentence about the head; return the head, and tokens or words.

    The sentence has the height of two lines, so that nothing below moves with another head.
    """
    line = st.container(
        horizontal=True, vertical_alignment="center", key="title_line", gap="xsmall"
    )
    with line:
        name = st.container(width="content")
        kind = choose_kind(capture.kinds, show_label=False)
        head = head_menus(capture, kind, in_line=True)
        with st.container(horizontal=True, width="content", gap="xsmall"):  # one line on phones
            _step_buttons(head, capture.model.heads[kind])
        units = choose_units()
        st.space("stretch")
        _pin_button(request, head)
    with name:  # without the kind, which the buttons beside it show
        st.header(head.label.removeprefix(f"{head.kind} "), anchor=False)
    with st.container(key="head_sentence"):
        _sentence(capture, head)
    return head, units


def head_title(capture: Capture, head: Head) -> None:
    """Show the head's name, and in one sentence what it does."""
    st.header(f"{head.label} · {KIND_LABELS[head.kind]}", anchor=False)
    _sentence(capture, head)


def _sentence(capture: Capture, head: Head) -> None:
    """Show what the head does on this text, after what it is known for in translations."""
    does = words.headline(capture[head.kind], head.layer, head.head)
    known = [
        f"{one.label.split(':')[0]} (measured score {decimals(one.score)}). On this text it "
        for one in capture.model.known_heads
        if one.head == head and one.role == "alignment"
    ]
    show_plain("This head " + "".join(known[:1]) + does + ".")


def _step_buttons(head: Head, heads: Sequence[int]) -> None:
    """Show buttons for the head before and after this one, through all layers and around.

    Args:
        head: the open one.
        heads: how many layers, and heads in each.
    """
    layers, per_layer = heads
    place = head.layer * per_layer + head.head
    for label, name, step in (("◂", "Previous head", -1), ("▸", "Next head", 1)):
        layer, number = divmod((place + step) % (layers * per_layer), per_layer)
        st.button(
            label,
            key=name.lower().replace(" ", "_"),
            on_click=state.choose_head,
            args=(Head(head.kind, layer, number),),
            help=name,
        )


def _pin_button(request: Request, head: Head) -> None:
    is_pinned = state.pinned() == (request, head)
    st.button(
        "Pinned" if is_pinned else "Pin",
        icon=":material/keep:",
        key="pin",
        on_click=_pin,
        args=(request, head),
        disabled=is_pinned,
        help="Remember this head, on this text and model, for the Compare page.",
    )


def _pin(request: Request, head: Head) -> None:
    """Pin a head, and show that it is pinned."""
    state.pin(request, head)
    st.toast(f"Pinned {head.label}. Open Compare to see another head beside it.")
