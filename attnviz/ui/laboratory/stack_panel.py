"""Memory of a cache: its formula with real shapes, and the layers of a model as a strip."""

from __future__ import annotations

from contextlib import suppress

import streamlit as st

from attnviz.efficient.layer_stack import Layer, layer_bytes, receptive_fields
from attnviz.efficient.published_stacks import PUBLISHED
from attnviz.errors import InputError
from attnviz.experiments.generation.cached_model import CachedModel, cache_bytes
from attnviz.experiments.generation.model_layers import layers_of
from attnviz.models import Model
from attnviz.sentences import sentence
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.choices import choice
from attnviz.ui.components.figures_and_tables import show_picture
from attnviz.ui.session.plain_text import show_plain
from attnviz.views.charts.layer_strip import draw_layers
from attnviz.views.charts.memory_sizes import draw_memory
from attnviz.written_numbers import count, percent, size

__all__ = ["show_layers", "show_memory"]

LENGTHS = (128, 1024, 4096, 16_384, 32_768, 131_072, 1_000_000)
NUMBERS = {2.0: "16 bits", 4.0: "32 bits", 1.0: "8 bits", 0.5: "4 bits"}
BATCHES = (1, 4, 16, 64)


def show_memory(model: Model, ids: tuple[int, ...]) -> None:
    """Draw the cache of published models at a chosen length, and check the formula here."""
    st.subheader("How large it is", anchor=False)
    st.markdown("**2 · layers · kv heads · d_head · bytes · tokens · batch**")
    left, middle, right = st.columns(3)
    with left:
        length = st.select_slider(
            "Tokens", LENGTHS, 4096, format_func=lambda one: f"{one:,}", key="cache_length",
            persist_state="session",
        )  # fmt: skip
    with middle:
        batch = st.select_slider(
            "Texts at once", BATCHES, 1, key="cache_batch", persist_state="session"
        )
    with right:
        width = choice("Numbers of", NUMBERS, "cache_numbers", shape="menu")
    sizes = {
        name: float(layer_bytes(one.layers, length, batch=batch, bytes_per_number=width).sum())
        for name, one in PUBLISHED.items()
    }
    show_picture(
        draw_memory(sizes, theme=current_theme()),
        key="cache_sizes",
        filename="attnviz-cache-sizes",
        alt=f"Bytes of the caches of published models at {length} tokens",
    )
    st.caption(
        "Windows (Mistral, every other layer of Gemma 2) keep min(tokens, window). DeepSeek-V3 "
        "keeps 576 numbers per layer and token instead of keys and values. Jamba and StripedHyena "
        "have attention in some layers only. Shapes are published ones; some of these models "
        "were trained on shorter texts."
    )
    _check(model, ids)


def _check(model: Model, ids: tuple[int, ...]) -> None:
    """Compare the formula with the cache that the library makes of the text."""
    try:
        layers = layers_of(model)
    except InputError as error:
        show_plain(sentence(str(error)), small=True)
        return
    cached = CachedModel(model)
    cached.read(ids)
    held = {} if cached.cache is None else cache_bytes(cached.cache)
    width = next(model.network.parameters()).element_size()
    ours = layer_bytes(layers, len(ids), bytes_per_number=width)
    counted = sum(float(ours[at]) for at, one in enumerate(layers) if one.per_token)
    line = (
        f"This text, {len(ids):,} tokens in {model.info.dtype}: **{count(counted)}** bytes of keys "
        f"and values by the formula, **{sum(held.values()):,}** in the library's cache."
    )
    if any(one.window is not None and len(ids) >= one.window for one in layers):
        line += " A window's newest token comes with the next query, so the library holds one less."
    st.markdown(line)


def show_layers(model: Model) -> None:
    """Draw kind, cache and receptive field of each layer of this model or of a published one."""
    st.subheader("Layer by layer", anchor=False)
    stacks: dict[str, tuple[Layer, ...]] = {}
    with suppress(InputError):
        stacks["this model"] = layers_of(model)
    stacks |= {name: one.layers for name, one in PUBLISHED.items()}
    left, right = st.columns(2)
    with left:
        name = choice("Model", list(stacks), "cache_stack", first="Jamba", shape="menu")
    with right:
        tokens = st.select_slider(
            "Tokens read", LENGTHS, 32_768, format_func=lambda one: f"{one:,}",
            key="cache_stack_length", persist_state="session",
        )  # fmt: skip
    layers = stacks[name]
    sizes, fields = layer_bytes(layers, tokens), receptive_fields(layers)
    show_picture(
        draw_layers(
            [one.kind for one in layers], sizes, fields, tokens=tokens, theme=current_theme()
        ),
        key="cache_layers",
        filename="attnviz-layers",
        alt=f"Tokens reached and bytes kept by each layer of {name}",
    )
    full = layer_bytes([one for one in layers if one.per_token], tokens)
    plain = float(full.max()) * len(layers) if len(full) else 0.0
    share = (
        f", {percent(float(sizes.sum()) / plain)} of a stack with attention everywhere"
        if plain
        else ""
    )
    source = f" Shapes: {PUBLISHED[name].source}." if name in PUBLISHED else ""
    st.caption(
        f"All layers keep {size(float(sizes.sum()))} in 16 bits{share}. A window reaches "
        "further with every layer below it. A state reaches all tokens, but holds them in a fixed "
        f"number of numbers, and can forget.{source}"
    )
