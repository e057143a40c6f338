"""Maps of a variant beside exact attention, and what the variant changes row by row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st
from jaxtyping import Bool, Float

from attnviz.attention.stack.map_tiles import Grid, Window
from attnviz.efficient import EfficientResult, Variant
from attnviz.efficient.variant_errors import difference
from attnviz.types import Head, Tokens
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.figures_and_tables import show_picture
from attnviz.ui.components.plotly_map import plotly_map
from attnviz.ui.laboratory.hard_head import show_guess
from attnviz.ui.laboratory.head_vectors import HeadVectors
from attnviz.views import draw_rows
from attnviz.views.maps.map_specification import (
    MapSpecification,
    difference_specification,
    weight_specification,
)
from attnviz.written_numbers import percent

__all__ = ["show_changes", "show_pairs"]


def show_pairs(
    variant: Variant,
    result: EfficientResult,
    exact: EfficientResult,
    tokens: tuple[Tokens, Tokens],
    head: Head,
) -> None:
    """Draw the exact weights and those of the variant; pairs that are not computed are hatched."""
    weights, drawn = _exact_side(exact, np.asarray(result.computed))
    signed = float(np.nanmin(result.weights)) < 0
    if signed:
        st.caption("Orange is above zero, blue below: these weights can be negative.")
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**Exact attention**")
        _map(weights, drawn, tokens, f"{head.label}, exact", "lab_exact")
    with right:
        st.markdown(f"**{variant.label}**")
        if signed:
            end = float(np.nanmax(np.abs(result.weights)))
            drawn = replace(difference_specification("", "", end), value="weight", caption="weight")
        else:
            drawn = weight_specification(
                high=1.0
                if variant.relation != "another model"
                else float(np.nanmax(result.weights))
            )
        drawn = replace(
            drawn, missing="this pair is not computed", missing_caption="not computed or masked"
        )
        _map(result.weights, drawn, tokens, f"{head.label}, {variant.label}", "lab_variant")


def _exact_side(
    exact: EfficientResult, computed: Bool[np.ndarray, "query key"]
) -> tuple[Float[np.ndarray, "query key"], MapSpecification]:
    """Return the exact weights and how they are drawn; a switch covers what is not computed.

    The switch stands above both maps, so that their rows stay beside each other.
    """
    weights, drawn = np.asarray(exact.weights), weight_specification()
    left_out = np.asarray(exact.computed) & ~computed
    if left_out.any():
        lost = float(np.nan_to_num(weights)[left_out].sum() / len(weights))
        cover = st.toggle("Cover the pairs that are not computed", key="lab_cover")
        st.caption(f"{percent(lost)} of the exact weight lies on pairs that are not computed.")
        if cover:
            weights = np.where(left_out, np.nan, weights)
            drawn = replace(drawn, missing_caption="not computed or masked")
    return weights, drawn


def _map(
    weights: Float[np.ndarray, "query key"],
    drawn: MapSpecification,
    tokens: tuple[Tokens, Tokens],
    alt: str,
    key: str,
) -> None:
    numbers = np.asarray(weights, dtype=np.float32)

    def cut(window: Window) -> Grid:
        return Grid(window, 1, 1, numbers[window.slices])

    plotly_map(
        drawn,
        tokens[0].labels[: len(numbers)],
        tokens[1].labels[: numbers.shape[1]],
        cut,
        depends_on=(numbers.tobytes(),),
        selects="none",
        filename=f"attnviz-{key.replace('_', '-')}",
        alt=f"Weights of {alt}",
        key=key,
    )


def show_changes(
    variant: Variant,
    vectors: HeadVectors,
    result: EfficientResult,
    exact: EfficientResult,
    tokens: Tokens,
    options: dict[str, int],
) -> None:
    """Draw the differences of each row, and let two heads of the layer be compared."""
    if variant.relation == "another model":
        st.info(
            f"{variant.label} is another model with weights of a different kind. Its difference "
            "from the softmax is not an error, so none is shown.",
            icon=":material/info:",
        )
        return
    rows = difference(result, exact)
    shown = tokens.first(len(rows.moved))
    for title, label, numbers, key in (
        ("Share of the weight on other keys than in exact attention", "share", rows.moved, "moved"),
        ("Error of the output, relative to its length", "error", rows.output, "output"),
    ):
        st.markdown(f"**{title}**")
        figure = draw_rows(
            numbers.astype(np.float32), shown, label=label, theme=current_theme(), height=220
        )
        show_picture(
            figure,
            key=f"lab_{key}",
            filename=f"attnviz-{variant.name}-{key}",
            alt=f"{title}, for each token",
        )
    show_guess(variant, vectors, options)
