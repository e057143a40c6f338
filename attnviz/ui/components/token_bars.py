"""Probabilities of a few tokens as bars with their numbers, in one state or in two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from attnviz import words
from attnviz.errors import InputError
from attnviz.ui.components.served_component import ServedComponent
from attnviz.views.style.safe_labels import clean_label
from attnviz.views.style.theme import palette
from attnviz.written_numbers import percent

__all__ = ["token_bars"]

_bars = ServedComponent("token_bars", '<div class="bars"></div>')


def token_bars(
    labels: Sequence[str], probabilities: Mapping[str, Sequence[float]], *, key: str
) -> None:
    """Show one row per token: its label, a bar for each state, and the numbers.

    The longest bar has the width that there is. Light enough for the first screen, where a chart
    of Streamlit would load five megabytes of JavaScript.

    Args:
        labels: of the tokens.
        probabilities: one number per token, from 0 to 1, by the name of the state.
        key: the widget's.

    Raises:
        InputError: a state has not one number per token.
    """
    for name, numbers in probabilities.items():
        if len(numbers) != len(labels):
            raise InputError(f"{name!r} has {len(numbers)} probabilities for {len(labels)} tokens")
    table = np.array(list(probabilities.values()), dtype=float).T
    longest = float(table.max(initial=0)) or 1.0
    colors = {theme: palette(theme).categorical for theme in ("light", "dark")}
    _bars(
        data={
            "states": list(probabilities),
            "colors": [
                f"light-dark({light}, {dark})" for light, dark in zip(*colors.values(), strict=True)
            ][: len(probabilities)],
            "rows": [
                {
                    "label": clean_label(label),
                    "widths": [float(one) / longest for one in row],
                    "shares": [percent(float(one)) for one in row],
                    "exact": [percent(float(one), 2) for one in row],
                }
                for label, row in zip(labels, table, strict=True)
            ],
            "alt": _in_words(labels, table, list(probabilities)),
        },
        key=key,
    )


def _in_words(labels: Sequence[str], table: np.ndarray, states: Sequence[str]) -> str:
    rows = [
        f"{words.quoted(label)} "
        + " and ".join(
            f"{percent(float(one))} ({state})" for state, one in zip(states, row, strict=True)
        )
        for label, row in zip(labels, table, strict=True)
    ]
    return f"Probabilities of the likeliest tokens: {', '.join(rows)}"
