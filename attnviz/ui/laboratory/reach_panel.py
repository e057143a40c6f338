"""Reach of information through several layers of one pattern of pairs."""

from __future__ import annotations

import numpy as np
import streamlit as st
import torch

from attnviz.attention.stack.map_tiles import Grid, Window
from attnviz.efficient import EfficientResult, Variant
from attnviz.efficient.methods.sparse_patterns import reach
from attnviz.types import Tokens
from attnviz.ui.components.plotly_map import plotly_map
from attnviz.views.maps.map_specification import MapSpecification
from attnviz.views.style.safe_labels import shorten
from attnviz.written_numbers import percent

__all__ = ["show_reach"]

LAYERS = 12


def show_reach(variant: Variant, result: EfficientResult, tokens: Tokens) -> None:
    """Draw which tokens reach which in some layers, and answer for one pair."""
    mask = torch.as_tensor(np.asarray(result.computed))
    count = len(mask)
    first = layers_needed(mask)
    labels = tokens.labels[:count]
    left, middle, right = st.columns(3)
    layers = left.slider("Layers", 1, LAYERS, 2, key="lab_layers")

    def named(at: int) -> str:
        return f"{shorten(labels[at], 16)} ({at})"

    reads = middle.selectbox(
        "Can this token", range(count), index=count - 1, format_func=named, key="lab_reads"
    )
    gives = right.selectbox("read that one?", range(count), format_func=named, key="lab_gives")
    needed = int(first[reads, gives])
    pair = f"{shorten(labels[reads], 16)!r} ({reads}) and {shorten(labels[gives], 16)!r} ({gives})"
    if needed > LAYERS:
        answer = f"no path leads from one to the other in {LAYERS} layers"
    elif needed == 0:
        answer = "they are the same token"
    else:
        answer = (
            f"{'yes' if needed <= layers else 'not yet'}: "
            f"{needed} layer{'s' if needed > 1 else ''} of {variant.label} "
            f"{'are' if needed > 1 else 'is'} enough"
        )
    st.text(f"{pair}: {answer}.")
    drawn = MapSpecification(
        value="layers needed",
        caption="layers needed",
        low=0.0,
        high=float(layers),
        missing=f"not reached in {layers} layers",
        missing_caption=f"not reached in {layers} layers",
        corner="read →<br>reader ↓",
    )
    numbers = np.where(first <= layers, first, np.nan).astype(np.float32)

    def cut(window: Window) -> Grid:
        return Grid(window, 1, 1, numbers[window.slices])

    plotly_map(
        drawn,
        labels,
        labels,
        cut,
        depends_on=(numbers.tobytes(), layers),
        selects="none",
        filename=f"attnviz-{variant.name}-reach",
        alt=f"Layers of {variant.label} that are needed from each token to each other",
        key="lab_reach",
    )
    share = float((first <= layers).mean())
    st.caption(
        f"In {layers} layers {percent(share)} of all pairs are connected, directly or over others."
    )


def layers_needed(mask: torch.Tensor) -> np.ndarray:
    """Return the smallest number of layers in which a query depends on a position.

    [query, position]; 0 for the position itself, `LAYERS` + 1 if more would be needed.
    """
    needed = np.full(mask.shape, LAYERS + 1)
    for layers in range(LAYERS, -1, -1):
        needed[reach(mask, layers).numpy()] = layers
    return needed
