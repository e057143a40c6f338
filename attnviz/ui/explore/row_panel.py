"""Numbers per token on a page: a bar for each, or of a long text an overview and a part."""

from __future__ import annotations

import numpy as np
import streamlit as st
from jaxtyping import Float

from attnviz.types import Tokens, Words
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.figures_and_tables import show_picture
from attnviz.ui.components.token_strip import part
from attnviz.ui.explore.token_panel import around
from attnviz.ui.session import state
from attnviz.views import draw_row_bins, draw_rows

__all__ = ["BARS", "show_rows"]

BARS = 512
"""Most tokens that get a bar each, all at once."""

PART = 128  # bars below an overview


def show_rows(
    values: Float[np.ndarray, " query"],
    tokens: Tokens,
    *,
    label: str,
    unit: str = "",
    limits: tuple[float, float] | None = None,
    key: str,
    filename: str,
    alt: str,
    words: Words | None = None,
) -> None:
    """Draw the numbers, with the chosen token set off; `alt` says in words what is shown.

    With `words` there is a number per word, and the word of the chosen token is set off.
    """
    chosen = state.token(len(tokens) if words is None else int(words.edges[-1]))
    if chosen is not None and words is not None:
        chosen = words.index_of(chosen)
    shown = slice(0, len(tokens))
    if len(tokens) > BARS:
        figure = draw_row_bins(
            values, label=label, unit=unit, limits=limits, selected=chosen, theme=current_theme()
        )
        show_picture(
            figure,
            key=f"{key}_overview",
            filename=f"{filename}-overview",
            alt=f"{alt}, of the whole text in bins",
        )
        shown = around(chosen or 0, len(tokens), PART)
        st.caption(
            f"Above the whole text: the mean of neighbouring tokens, and from the lowest to the "
            f"highest. Below tokens {shown.start:,} to {shown.stop - 1:,}, around the chosen one."
        )
    figure = draw_rows(
        values[shown],
        part(tokens, shown),
        label=label,
        unit=unit,
        limits=limits,
        selected=None if chosen is None else chosen - shown.start,
        first=shown.start,
        theme=current_theme(),
    )
    show_picture(figure, key=key, filename=filename, alt=f"{alt}, one bar per token")
