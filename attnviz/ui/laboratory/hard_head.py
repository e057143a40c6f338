"""Prediction which of two heads is hard for a variant, with both errors in front of it."""

from __future__ import annotations

import numpy as np
import streamlit as st

from attnviz.efficient import Variant
from attnviz.types import Head
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.figures_and_tables import show_picture
from attnviz.ui.laboratory.head_vectors import HeadVectors
from attnviz.views.charts.predicted_bars import draw_predicted

__all__ = ["show_guess"]

GUESSES = "lab_guesses"
"""Key of the session with the first guess of each variant, setting and layer."""

EQUAL = 1e-6
"""Smaller differences of two errors are no difference."""


def show_guess(variant: Variant, vectors: HeadVectors, options: dict[str, int]) -> None:
    """Take a prediction for two heads of the layer, then show both errors in front of it."""
    heads = len(vectors.query)
    if heads < 2:
        return
    spread = [_spread(vectors, head) for head in range(heads)]
    peaked, smooth = int(np.argmin(spread)), int(np.argmax(spread))
    names = {
        one: Head(vectors.head.kind, vectors.head.layer, one).label for one in (peaked, smooth)
    }
    st.markdown("**Predict**: for which of these two heads is the error of the output larger?")
    guesses: dict[str, int] = st.session_state.setdefault(GUESSES, {})
    place = f"{variant.name}:{options}:{names}:{hash(vectors.query.tobytes())}"
    if place not in guesses:
        with st.container(horizontal=True):
            for one in sorted(names):
                st.button(
                    f"{names[one]}, the most {'peaked' if one == peaked else 'spread out'}",
                    key=f"lab_guess:{'peaked' if one == peaked else 'smooth'}",
                    on_click=guesses.__setitem__,
                    args=(place, one),
                )
        return
    guess = guesses[place]
    errors = {one: _error(variant, vectors, one, options) for one in sorted(names)}
    larger = max(errors, key=lambda one: errors[one])
    show_picture(
        draw_predicted(
            {names[one]: error for one, error in errors.items()},
            predicted=names[guess],
            label="error of the output",
            theme=current_theme(),
        ),
        key="lab_predicted",
        filename=f"attnviz-{variant.name}-predicted",
        alt="Errors of both heads, with your prediction behind them",
    )
    if abs(errors[peaked] - errors[smooth]) < EQUAL:
        st.success("Both errors are equal here.", icon=":material/balance:")
    elif guess == larger:
        st.success(f"Yes, it is {names[larger]}.", icon=":material/check:")
    else:
        st.warning(f"No, it is {names[larger]}.", icon=":material/close:")


def _error(variant: Variant, vectors: HeadVectors, head: int, options: dict[str, int]) -> float:
    """Return the error of a head's outputs, relative to their length."""
    result, exact = vectors.run(variant.name, head, **options), vectors.run("exact", head)
    return float(np.linalg.norm(result.output - exact.output) / np.linalg.norm(exact.output))


def _spread(vectors: HeadVectors, head: int) -> float:
    """Return the mean entropy of the rows of a head, in nats."""
    weights = np.nan_to_num(vectors.run("exact", head).weights)
    powers = weights * np.log(np.where(weights > 0, weights, 1.0))
    return float(-powers.sum(-1).mean())
