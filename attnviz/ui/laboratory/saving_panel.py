"""Generation with and without a cache: multiplications and time of each token."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st

from attnviz.experiments.generation.cache_saving import CacheSaving, measure_saving
from attnviz.experiments.generation.multiplications import forward_multiplications
from attnviz.findings import Progress
from attnviz.models import Model, tokens
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.choices import choice
from attnviz.ui.components.figures_and_tables import show_picture
from attnviz.ui.jobs.background_jobs import Work
from attnviz.ui.jobs.long_jobs import wait_for
from attnviz.ui.server.run_places import giving_way_by_count
from attnviz.views.charts.token_lines import draw_token_lines
from attnviz.written_numbers import decimals, duration

__all__ = ["COUNT", "show_saving"]

COUNT = 32
"""Tokens that are written both ways."""

WITH, WITHOUT = "with the cache", "without"


def show_saving(model: Model, ids: tuple[int, ...]) -> None:
    """Offer to write the text on in both ways, and show what each token costs."""
    st.subheader("With and without", anchor=False)
    st.write(
        "Without a cache every new token reads the whole text again. With it, only the newest "
        "token is read."
    )
    room = COUNT if model.info.max_tokens is None else min(COUNT, model.info.max_tokens - len(ids))
    if room < 2:
        st.caption("The text fills the model. Shorten it in the side bar.")
        return
    forward_multiplications(model, 1)  # refuses models that are not counted, before the button

    def work() -> Work[CacheSaving]:
        def run(progress: Callable[[Progress], None]) -> CacheSaving:
            counted = giving_way_by_count(progress, "Token")
            return measure_saving(model, ids, room, progress=counted)

        return run

    key = ("saving", model.info.name, model.info.revision, ids, room)
    saving = wait_for(key, work, f"Write {room} tokens both ways")
    if saving is not None:
        _show(model, len(ids), saving)


def _show(model: Model, prompt: int, saving: CacheSaving) -> None:
    cached, again = int(saving.cached[1:].sum()), int(saving.again[1:].sum())
    quick, slow = float(saving.cached_seconds[1:].sum()), float(saving.again_seconds[1:].sum())
    one, two, three = st.columns(3)
    one.metric("Multiplications, times fewer", decimals(again / cached, 1))
    two.metric("Time, times less", decimals(slow / quick, 1))
    three.metric("Time per token, with", duration(quick / (len(saving.ids) - 1)))
    what = choice("Show", ["Multiplications", "Time"], "cache_saving", show_label=False)
    if what == "Multiplications":
        curves = {WITH: saving.cached / 1e6, WITHOUT: saving.again / 1e6}
        label, unit = "multiplications", "millions"
    else:
        curves = {WITH: saving.cached_seconds * 1000, WITHOUT: saving.again_seconds * 1000}
        label, unit = "time", "ms"
    show_picture(
        draw_token_lines(
            {name: np.asarray(numbers, float) for name, numbers in curves.items()},
            tokens(model.vocabulary, saving.ids),
            label=label,
            unit=unit,
            theme=current_theme(),
        ),
        key="cache_saving_lines",
        filename="attnviz-with-and-without-cache",
        alt=f"{label} of each new token with and without a cache",
    )
    st.caption(
        f"The first token reads the {prompt} tokens of the text in both ways, so the figures above "
        "leave it out. "
        + ("Both ways write the same tokens. " if saving.same else "The two ways differ in a "
           "token: two words were nearly equally likely. ")
        + "Multiplications follow from the shapes of the weights. Time is measured on this server, "
        "median of three. A step with one token reads all weights for little work, so the time "
        "falls less than the multiplications."
    )  # fmt: skip
