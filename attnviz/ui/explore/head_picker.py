"""Choosing a head: the map of all heads, and menus that say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from jaxtyping import Float, UInt8

from attnviz import metrics
from attnviz.attention.stack.map_tiles import Grid
from attnviz.captures.forward_pass import Capture
from attnviz.types import KIND_LABELS, Family, Head, Kind, ModelInfo
from attnviz.ui.components.checked_reports import first_item, index, record
from attnviz.ui.components.choices import choice
from attnviz.ui.components.figures_and_tables import show_picture
from attnviz.ui.components.plotly_map import plotly_map
from attnviz.ui.session import state
from attnviz.views.maps.head_map import head_limits
from attnviz.views.maps.map_specification import head_specification, picture_specification

__all__ = [
    "choose_kind",
    "choose_metric",
    "head_map",
    "head_menus",
    "menus",
    "own_layers",
    "show_heads",
    "without_attention",
]

FIRST_METRICS: Mapping[Family, str] = {
    "decoder": "induction",
    "encoder": "entropy",
    "encoder-decoder": "entropy",
}

IN_LINE = 104
"""Width in pixels of a menu in a line."""

MOST = 1 << 16
"""Bound of a reported layer or head; the menus then accept only those that the model has."""


def choose_kind(
    kinds: Sequence[Kind],
    first: Kind | None = None,
    key: str = state.KIND,
    *,
    label: str = "Attention",
    show_label: bool = True,
) -> Kind:
    """Return which attention, where a model has several.

    Unless a link says otherwise it begins with `first`; without one, between two languages, where
    one looks at the other.
    """
    if len(kinds) == 1:
        return kinds[0]
    return choice(
        label,
        kinds,
        key,
        first=first or ("cross" if "cross" in kinds else kinds[0]),
        label_of=str.capitalize,
        link=True,
        show_label=show_label,
        explanation="; ".join(f"{kind}: {KIND_LABELS[kind]}" for kind in kinds),
    )


def choose_metric(names: Sequence[str], family: Family) -> str:
    """Return what the map is coloured by, of the metrics that exist for this text and kind."""
    first = FIRST_METRICS[family]
    chosen = choice(
        "Colour the heads by",
        names,
        state.METRIC,
        first=first if first in names else names[0],
        shape="menu",
        label_of=lambda name: metrics.describe(name).label,
        link=True,
        explanation="  \n".join(
            f"**{metrics.describe(name).label}**: {metrics.describe(name).meaning}"
            for name in names
        ),
    )
    return chosen


def own_layers(info: ModelInfo, kind: Kind) -> tuple[int, ...]:
    """Return the model's own number of each layer that has attention, if it has others.

    Nothing is returned for a model with attention in every layer.

    Layers are counted by their attention here: the L1 of a Jamba may be its layer 12.
    """
    numbers = info.layers.get(kind, ())
    return () if numbers == tuple(range(len(numbers))) else numbers


def without_attention(info: ModelInfo) -> str:
    """Return a sentence that names the layers without attention; empty if there are none."""
    by_kind: dict[str, list[int]] = {}
    for layer, words in info.other_layers.items():
        by_kind.setdefault(words, []).append(layer)
    named = [f"{_layer_list(layers)} ({words})" for words, layers in by_kind.items()]
    if not named:
        return ""
    return f"Without attention, and not in the map: {', '.join(named)}."


def _layer_list(layers: Sequence[int]) -> str:
    """Return "layer 3" or "layers 0, 1, 3"."""
    return f"layer{'s' if len(layers) > 1 else ''} {', '.join(map(str, layers))}"


def head_menus(
    capture: Capture,
    kind: Kind,
    first: Head | None = None,
    prefix: str = "",
    *,
    in_line: bool = False,
) -> Head:
    """Show menus for layer and head: for keyboards and links; a map sets the same two numbers.

    Args:
        capture: whose heads.
        kind: of which attention.
        first: the head to begin with; one worth a look when None.
        prefix: of the names in the link, where a page has several pairs of menus.
        in_line: narrow menus with their name inside, for a line with other things.
    """
    first = first or state.default_head(capture, kind)
    return menus(capture.model, kind, first, prefix, in_line=in_line)


def menus(
    info: ModelInfo, kind: Kind, first: Head, prefix: str = "", *, in_line: bool = False
) -> Head:
    """Show the menus of `head_menus` for a model, beginning with a given head."""
    numbers = own_layers(info, kind)
    chosen = []
    columns: Sequence[AbstractContextManager[object]] = (
        (nullcontext(), nullcontext()) if in_line else st.columns(2)
    )
    for column, name, count, default in zip(
        columns,
        (state.LAYER, state.HEAD),
        info.heads[kind],
        (first.layer, first.head),
        strict=True,
    ):
        named = numbers if name == state.LAYER else ()
        with column:
            chosen.append(
                choice(
                    name.title(),
                    range(count),
                    prefix + name,
                    first=default,
                    shape="menu",
                    label_of=partial(_numbered, named, name.title() if in_line else ""),
                    link=True,
                    show_label=not in_line,
                    width=IN_LINE if in_line else "stretch",
                )
            )
    return Head(kind, chosen[0], chosen[1])


def _numbered(numbers: tuple[int, ...], name: str, number: int) -> str:
    """Return the text of a layer or head in a menu, with the model's number where it differs."""
    shown = f"{name} {number}".strip()
    return f"{shown} (the model's layer {numbers[number]})" if numbers else shown


def head_map(
    values: Float[np.ndarray, "layer head"],
    metric: str,
    selected: Head,
    *,
    key: str,
    pictures: UInt8[np.ndarray, "layer head row column"] | None = None,
) -> None:
    """Show one number per head as a map; a click selects the head.

    With `pictures` (see `small_patterns`) the cells show these; the line below has the numbers.
    """
    what = metrics.describe(metric)
    layers, heads = values.shape

    def choose(layer: int | None, head: int | None) -> None:
        if layer is not None and head is not None:
            state.choose_head(Head(selected.kind, layer, head))

    plotly_map(
        head_specification(what, *head_limits(values, what))
        if pictures is None
        else picture_specification(what),
        [f"L{layer}" for layer in range(layers)],
        [f"H{head}" for head in range(heads)],
        lambda window: Grid(window, 1, 1, values[window.slices]),
        pictures=pictures,
        depends_on=(metric, values.tobytes(), None if pictures is None else pictures.tobytes()),
        selected=(selected.layer, selected.head),
        selects="cell",
        on_cell=choose,
        tallest=520,
        filename=f"attnviz-heads-{metric}",
        alt=f"{what.label} of every head; {selected.label} is selected",
        key=key,
    )


def show_heads(figure: go.Figure, kind: Kind, *, key: str, filename: str, alt: str) -> None:
    """Show a map with a cell for every head of this kind; a click shows that head.

    The page's menu saves it.
    """
    show_picture(
        figure,
        key=key,
        filename=filename,
        alt=alt,
        on_click=partial(_take_click, key, kind),
        saved_in_menu=True,
    )


def _take_click(key: str, kind: Kind) -> None:
    """Show the head whose cell was clicked in the map of this key."""
    points = record(st.session_state.get(key), "selection").get("points")
    cell = record(first_item(points)).get("customdata")
    if not (isinstance(cell, list) and len(cell) >= 2):
        return
    layer, head = index(cell[0], MOST), index(cell[1], MOST)
    if layer is not None and head is not None:
        state.choose_head(Head(kind, layer, head))
