"""Growth of the cache, layer by layer: shared heads, and layers with a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st
from jaxtyping import Float

from attnviz.experiments.generation.token_by_token import GenerationStep
from attnviz.models import Model, tokens
from attnviz.types import Kind, ModelInfo
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.figures_and_tables import show_picture
from attnviz.ui.generate.written_text import Written
from attnviz.views.charts.token_lines import draw_token_lines

__all__ = ["bytes_by_layer", "cache_sentences", "show_growth"]


def show_growth(model: Model, written: Written) -> None:
    """Draw the bytes of each layer after each generated token, with what keeps them small."""
    for one in cache_sentences(model.info, written.steps):
        st.markdown(one)
    if len(written.steps) < 2:
        st.caption("Generate two tokens or more to see the cache grow.")
        return
    first = written.steps[0].position
    read = tokens(model.vocabulary, written.ids[first : first + len(written.steps)])
    show_picture(
        draw_token_lines(
            bytes_by_layer(written.steps),
            read,
            label="bytes per layer",
            theme=current_theme(),
            height=240,
        ),
        key="cache_growth",
        filename="attnviz-cache-growth",
        alt="Bytes of keys and values of each layer after each generated token",
    )


def bytes_by_layer(steps: Sequence[GenerationStep]) -> dict[str, Float[np.ndarray, " step"]]:
    """Return the bytes of each layer after each step; equal layers are one entry."""
    grouped: dict[tuple[int, ...], list[int]] = {}
    for layer in steps[-1].cache_bytes:
        sizes = tuple(step.cache_bytes.get(layer, 0) for step in steps)
        grouped.setdefault(sizes, []).append(layer)
    return {_named(layers): np.array(sizes, np.float64) for sizes, layers in grouped.items()}


def cache_sentences(info: ModelInfo, steps: Sequence[GenerationStep]) -> list[str]:
    """Return sentences about heads that share keys, and layers that stopped growing."""
    kind: Kind = "decoder" if info.family == "encoder-decoder" else "self"
    heads, shared = info.heads[kind][1], info.key_heads[kind]
    sentences = []
    if shared < heads:
        sentences.append(
            f"{heads} query heads share {shared} heads of keys and values: the cache is "
            f"{heads / shared:g} times smaller than without sharing."
        )
    still = _still(steps[-2].cache_bytes, steps[-1].cache_bytes) if len(steps) > 1 else []
    if still:
        verb = (
            "has a window, and its cache" if len(still) == 1 else "have a window, and their cache"
        )
        sentences.append(f"{_named(still).capitalize()} {verb} no longer grows.")
    return sentences


def _still(before: Mapping[int, int], after: Mapping[int, int]) -> list[int]:
    return [layer for layer, size in after.items() if size == before.get(layer)]


def _named(layers: Sequence[int]) -> str:
    return f"layer{'s' if len(layers) > 1 else ''} {', '.join(map(str, layers))}"
