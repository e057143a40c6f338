"""View "Other texts" of a head: the texts and tokens in which it does most of something."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import streamlit as st

from attnviz.captures.forward_pass import Capture
from attnviz.doctor.strongest_texts.place_words import place_title, spread_sentence
from attnviz.doctor.strongest_texts.places import Place, Strongest
from attnviz.doctor.strongest_texts.row_measures import (
    ELSEWHERE,
    is_lowest,
    measure_description,
    measures_of_kind,
)
from attnviz.doctor.strongest_texts.text_search import strongest
from attnviz.experiments.text_sets import TextSet
from attnviz.findings import Progress
from attnviz.sentences import sentence
from attnviz.types import Head, Metric
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.choices import choice
from attnviz.ui.components.figures_and_tables import show_picture, table_download
from attnviz.ui.diagnose.text_choice import choose_texts
from attnviz.ui.jobs.background_jobs import Work
from attnviz.ui.jobs.long_jobs import wait_for
from attnviz.ui.server.run_places import giving_way
from attnviz.ui.session.model_cache import Request, load_model
from attnviz.ui.session.opened_text import open_next, text_request
from attnviz.ui.session.plain_text import Strong, show_plain
from attnviz.ui.strongest.place_excerpt import excerpt
from attnviz.views.charts.text_histogram import draw_texts

__all__ = ["first_measure", "show_other_texts"]

PATTERNS = ("induction", "duplicate_token", "previous_token", "next_token")
"""Metrics by which a text is worth opening; others begin with the weight beside sinks."""

FEW_TEXTS = 5  # a histogram of fewer says no more than the list


def show_other_texts(capture: Capture, request: Request, head: Head, metric: str) -> None:
    """Show the choice of measure and texts, the search, and the places of the head.

    Args:
        capture: the text that is open.
        request: its request.
        head: whose places.
        metric: by which the heads are coloured.
    """
    measure = _choose_measure(head, metric)
    texts = choose_texts(
        capture.model.family,
        "The model reads each of them, and the rows of all heads are compared. Another head needs "
        "no new search.",
        "The more, the better.",
    )
    if texts is None:
        return
    result = wait_for(
        _key(capture, texts, measure), lambda: _work(request.model, texts, measure), "Search texts"
    )
    if result is not None:
        _show(result, request.model, head, measure)


def first_measure(head: Head, metric: str) -> str:
    """Return the measure that a search begins with: the pattern that colours the heads, if any."""
    offered = measures_of_kind(head.kind)
    return metric if metric in PATTERNS and metric in offered else ELSEWHERE


def _choose_measure(head: Head, metric: str) -> str:
    """Show the menu of measures that this kind of attention has, and return the chosen one."""
    names = measures_of_kind(head.kind)
    measure = choice(
        "Where is this head strongest in",
        names,
        f"strongest:{'cross' if head.kind == 'cross' else 'same'}",
        first=first_measure(head, metric),
        shape="menu",
        label_of=_label,
    )
    st.caption(measure_description(measure).meaning)
    return measure


def _label(name: str) -> str:
    label = measure_description(name).label
    return f"{label} (lowest)" if is_lowest(name) else label


def _key(capture: Capture, texts: TextSet, measure: str) -> Hashable:
    """Return the key of the result: model, revision, texts and measure."""
    named = (texts.name, texts.digest, texts.notes)
    return ("strongest", capture.model.name, capture.model.revision, named, measure)


def _work(model_name: str, texts: TextSet, measure: str) -> Work[Strongest]:
    """Return the search as a function for a background job."""
    model = load_model(model_name)

    def run(progress: Callable[[Progress], None]) -> Strongest:
        return strongest(model, texts, measures=[measure], progress=giving_way(progress))

    return run


def _show(result: Strongest, model_name: str, head: Head, measure: str) -> None:
    """Show how strong the head is over the texts, and its places."""
    for note in (*result.notes, result.reason(head, measure)):
        if note:
            show_plain(sentence(note), small=True)
    places = result.places(head, measure)
    if not places:
        return
    what = measure_description(measure)
    _typical(result, head, what)
    for rank, place in enumerate(places, 1):
        _place(place, rank, what, model_name, result, head)
    table_download(
        result.table(head, measure),
        key="strongest:csv",
        filename=f"attnviz-strongest-{measure}-{head.kind}-L{head.layer}H{head.head}",
        label="Places as CSV",
    )


def _typical(result: Strongest, head: Head, what: Metric) -> None:
    """Show whether the strongest places are typical: in words, and as a histogram of the texts."""
    show_plain(spread_sentence(result, head, what.name))
    if result.spread(head, what.name).texts < FEW_TEXTS:
        return
    low, high = what.limits
    show_picture(
        draw_texts(
            result.per_text(head, what.name),
            label=what.label,
            unit=what.unit,
            limits=(low, high) if low is not None and high is not None else None,
            theme=current_theme(),
        ),
        key="strongest_histogram",
        filename=f"attnviz-texts-{what.name}-{head.kind}-L{head.layer}H{head.head}",
        alt=f"{what.label} of {head.label}: number of texts by their strongest value",
        saved_in_menu=True,
    )


def _place(
    place: Place, rank: int, what: Metric, model_name: str, result: Strongest, head: Head
) -> None:
    """Show one place: its value, the text around it, and the button that opens it."""
    value, where = place_title(place, what)
    with st.container(gap="xxsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            show_plain(f"{rank}. ", Strong(value), f" · {where}")
            opened = st.button(
                f"Open text {place.text + 1}",
                key=f"strongest:{rank}",
                icon=":material/grid_on:",
                type="tertiary",
                help="Shows this head on this text. The text replaces the one in the side bar.",
            )
        st.html(
            excerpt(
                place.query_tokens,
                place.key_tokens,
                place.weights,
                place.query,
                place.key,
                same_text=head.kind != "cross",
            )
        )
    if opened:
        request = text_request(model_name, place.read.source, place.read.target)
        open_next(result.model.family, request, head, place.query)
