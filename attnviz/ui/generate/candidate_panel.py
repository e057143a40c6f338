"""Candidates of one step: their probabilities, and buttons to choose another one."""

from __future__ import annotations

import streamlit as st

from attnviz.experiments.generation.token_by_token import Candidate
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.choices import choice
from attnviz.ui.components.figures_and_tables import show_picture
from attnviz.ui.generate.written_text import WRITTEN, Written
from attnviz.ui.session.plain_text import plain, readable
from attnviz.views.charts.candidate_bars import draw_candidates
from attnviz.written_numbers import percent

__all__ = ["STEP", "choose_step", "show_candidates"]

STEP = "step"
"""Key of the session with the number of the step that is shown."""


def choose_step(written: Written) -> int:
    """Show the menu of generated tokens and return the number of the chosen one."""
    places = range(len(written.steps))
    if st.session_state.get(STEP) not in places:
        st.session_state[STEP] = places[-1]
    return choice(
        "Generated token",
        places,
        STEP,
        shape="menu",
        label_of=lambda place: _name(written, place),
        keep=False,
        explanation="The candidates and the map of all heads are those of this token.",
    )


def _name(written: Written, place: int) -> str:
    step = written.steps[place]
    return f"{step.position + 1}: {readable(step.token.label)}"


def show_candidates(written: Written, place: int) -> None:
    """Draw the candidates of a step, and a button for each that was not chosen."""
    step = written.steps[place]
    listed = step.candidates
    if step.token.id not in [one.id for one in listed]:
        listed = (*listed[:-1], step.token)
    states = {"of the model": [one.probability for one in listed]}
    if any(abs(one.drawn - one.probability) > 1e-6 for one in listed):
        states["after the settings"] = [one.drawn for one in listed]
    chosen = [one.id for one in listed].index(step.token.id)
    show_picture(
        draw_candidates(
            [one.label for one in listed], states, chosen=chosen, theme=current_theme()
        ),
        key="candidates",
        filename="attnviz-candidates",
        alt=f"Probabilities of the candidates at position {step.position + 1}",
    )
    st.caption("Choose another token here; what was generated after it is dropped.")
    with st.container(horizontal=True):
        for number, one in enumerate(listed):
            st.button(
                plain(one.label),
                key=f"candidate:{number}",
                on_click=_choose,
                args=(written, place, number, listed),
                disabled=one.id == step.token.id,
                help=percent(one.probability),
            )


def _choose(written: Written, place: int, number: int, listed: tuple[Candidate, ...]) -> None:
    st.session_state[WRITTEN] = written.with_choice(place, listed[number])
    st.session_state[STEP] = place
