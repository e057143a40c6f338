"""Composition of heads on page Patch: which earlier heads write what a head reads."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from attnviz.experiments.decomposition.composition import Composition
from attnviz.experiments.patching.head_paths import Reads
from attnviz.types import Head, Kind
from attnviz.ui.components.choices import choice
from attnviz.ui.components.figures_and_tables import show_table
from attnviz.ui.patch.effect_maps import show_head_values
from attnviz.ui.session.error_messages import show_reason
from attnviz.views.maps.map_specification import score_specification
from attnviz.written_numbers import decimals

__all__ = ["show_composition", "strongest_pairs"]

READS: dict[Reads, str] = {"key": "Keys", "query": "Queries", "value": "Values"}

PAIRS = 20
"""Pairs of heads in the table."""


def show_composition(scores: Composition, head: Head) -> None:
    """Show the scores of all earlier heads for what one head reads."""
    st.caption(
        "From weights alone: how much of what an earlier head writes is in the directions that "
        f"this head reads. Unrelated matrices score about {decimals(scores.chance, 3)}."
    )
    reads = choice("Reads into its", READS, "patch_reads")
    table: np.ndarray = getattr(scores, reads)
    if scores.missing and reads != "value":
        show_reason(scores.missing)
        return
    if head.layer >= table.shape[2] or head.head >= table.shape[3]:
        show_reason("composition is between heads of one kind of self-attention")
        return
    if head.layer == 0:
        st.caption("Heads of layer 0 read no other head: choose one of a higher layer.")
    high = float(np.nanmax(table, initial=0.0)) or 1.0
    show_head_values(
        table[:, :, head.layer, head.head],
        score_specification(
            f"into the {reads} vectors of {head.label}", high, missing="not in a lower layer"
        ),
        head,
        key="patch_composition",
        alt=f"Composition scores of earlier heads with the {reads} vectors of {head.label}",
    )
    with st.expander(f"The {PAIRS} strongest pairs"):
        pairs = strongest_pairs(table, head.kind)
        show_table(pairs, key="patch_pairs", filename="attnviz-composition")


def strongest_pairs(table: np.ndarray, kind: Kind, count: int = PAIRS) -> pd.DataFrame:
    """Return the pairs of heads with the largest scores, the largest first."""
    flat = np.nan_to_num(table.ravel(), nan=-1.0)
    order = [at for at in np.argsort(-flat, kind="stable")[:count] if flat[at] >= 0]
    rows = []
    for at in order:
        one, two, three, four = (int(part) for part in np.unravel_index(at, table.shape))
        rows.append(
            {
                "writes": Head(kind, one, two).label,
                "reads": Head(kind, three, four).label,
                "score": round(float(flat[at]), 3),
            }
        )
    return pd.DataFrame(rows, columns=["writes", "reads", "score"])
