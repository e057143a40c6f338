"""Maps of page Patch: one effect per head, or per layer and position."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st
from jaxtyping import Float

from attnviz.attention.stack.map_tiles import Grid
from attnviz.experiments.patching.head_patches import PARTS
from attnviz.experiments.patching.stream_patches import StreamEffects
from attnviz.models import Model, labels
from attnviz.types import Head, Kind
from attnviz.ui.components.choices import choice
from attnviz.ui.components.figures_and_tables import show_table
from attnviz.ui.components.plotly_map import plotly_map
from attnviz.ui.explore.head_picker import menus
from attnviz.ui.patch.pair_fields import ChosenPair
from attnviz.ui.patch.patch_study import PatchStudy
from attnviz.ui.session import state
from attnviz.ui.session.error_messages import show_reason
from attnviz.views.maps.map_specification import MapSpecification, effect_specification
from attnviz.written_numbers import scientific, signed

__all__ = [
    "choose_head",
    "effect_table",
    "ends",
    "show_effects",
    "show_head_values",
    "show_positions",
]

PREFIX = "patch_"

NO_PARTNER = "no partner in the corrupted text"


def choose_head(model: Model, kind: Kind, strongest: Head) -> Head:
    """Show the menus for layer and head, and return the head; a click in a map sets them."""
    return menus(model.info, kind, strongest, PREFIX)


def show_head_values(
    values: Float[np.ndarray, "layer head"],
    specification: MapSpecification,
    selected: Head,
    *,
    key: str,
    alt: str,
    chooses: bool = True,
) -> None:
    """Show one number per head; a click selects the head, unless `chooses` is False."""
    layers, heads = values.shape

    def choose(row: int | None, column: int | None) -> None:
        if chooses and row is not None and column is not None:
            st.session_state[PREFIX + state.LAYER] = row
            st.session_state[PREFIX + state.HEAD] = column

    numbers = values.astype(np.float32)
    plotly_map(
        specification,
        [f"L{layer}" for layer in range(layers)],
        [f"H{head}" for head in range(heads)],
        lambda window: Grid(window, 1, 1, numbers[window.slices]),
        depends_on=(key, numbers.tobytes()),
        selected=(selected.layer, selected.head) if chooses else None,
        selects="cell",
        on_cell=choose,
        tallest=520,
        filename=f"attnviz-{key.replace('_', '-')}",
        alt=alt,
        key=key,
    )


def ends(values: np.ndarray, least: float = 0.0) -> float:
    """Return the number at both ends of the colours: the largest size of a value, or `least`."""
    sizes = np.abs(values[np.isfinite(values)])
    return max(float(sizes.max(initial=0.0)), least) or 1.0


def show_positions(model: Model, chosen: ChosenPair, study: PatchStudy) -> None:
    """Show the effect of the residual stream at each layer and position."""
    stream, clean = study.stream, chosen.pair.clean
    sides = {"encoder": "Encoder", "decoder": "Decoder"}
    encoder = clean.target is not None and choice("Stream of", sides, "patch_side") == "encoder"
    if encoder and study.encoder is not None:
        stream = study.encoder
    if isinstance(stream, str):
        show_reason(stream)
        return
    follow = "Follow the colour: it moves from the words that differ to the position that predicts."
    if encoder:
        follow = "What differs begins at the words that differ; the decoder reads the last layer."
    elif clean.target is not None:
        follow = "What differs comes into the decoder through cross-attention."
    st.caption(
        f"The residual stream behind a layer, at one position, comes from the clean run. {follow}"
    )
    shares = stream.share().astype(np.float32)
    partners = chosen.pair.texts() if encoder else chosen.pair.predicted()
    named = labels(model.vocabulary, clean.ids if encoder else clean.target or clean.ids)
    plotly_map(
        effect_specification(
            "effect",
            ends(shares, 1.0),
            corner="position →<br>layer ↓",
            missing="the two runs are equal" if partners.whole else NO_PARTNER,
            numbers=len(named) <= 24,
        ),
        [f"L{layer}" for layer in range(len(shares))],
        list(named),
        lambda window: Grid(window, 1, 1, shares[window.slices]),
        depends_on=("patch_stream", shares.tobytes()),
        selects="none",
        tallest=520,
        filename="attnviz-patch-stream",
        alt="Effect of the residual stream at each layer and position of the clean text",
        key="patch_stream",
    )
    _all_positions(stream, partners.whole, decoder=clean.target is not None and not encoder)


def _all_positions(stream: StreamEffects, whole: bool, *, decoder: bool) -> None:
    """Show what patching all positions behind one layer restores."""
    if whole and not decoder:
        worst = float(np.abs(stream.whole - stream.clean).max())
        st.caption(
            f"Check: with all positions patched, every layer restores the clean run; largest "
            f"difference {scientific(worst, 1)} logits."
        )
        return
    nearest = ", ".join(f"L{layer} {signed(value)}" for layer, value in enumerate(stream.whole))
    reason = "the corrupted source" if decoder else "the tokens without a partner"
    st.caption(
        f"With all partners patched behind one layer: {nearest}; clean run {signed(stream.clean)}. "
        f"Later layers still read {reason}."
    )


def effect_table(study: PatchStudy, kind: Kind) -> pd.DataFrame:
    """Return a row per head, the largest effects of outputs first."""
    shares = {part: study.effects[part].share(kind) for part in PARTS}
    layers, heads = shares["output"].shape
    table = pd.DataFrame(
        [
            {
                "head": Head(kind, layer, head).label,
                **{part: round(float(shares[part][layer, head]), 3) for part in PARTS},
            }
            for layer in range(layers)
            for head in range(heads)
        ]
    )
    if not isinstance(study.parts, str) and kind in study.parts.heads:
        table["direct effect, logits"] = study.parts.heads[kind].ravel().round(3)
    order = table["output"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)


def show_effects(study: PatchStudy, kind: Kind) -> None:
    """Show the effects of all parts of all heads as a table."""
    with st.expander("All heads and parts as a table"):
        show_table(effect_table(study, kind), key="patch_table", filename="attnviz-patching")
