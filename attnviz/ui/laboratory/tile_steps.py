"""FlashAttention tile by tile, and ring attention round by round, on the open head."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from attnviz.efficient.methods.flash import flash_steps
from attnviz.efficient.methods.result import Inputs, prepare
from attnviz.types import Tokens
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.figures_and_tables import show_picture
from attnviz.ui.laboratory.head_vectors import HeadVectors
from attnviz.views import draw_rows
from attnviz.views.style.safe_labels import shorten

__all__ = ["show_rounds", "show_tiles"]


def _inputs(vectors: HeadVectors) -> Inputs:
    return prepare(*vectors.of_head(vectors.head.head), vectors.causal, vectors.scale)


def show_tiles(vectors: HeadVectors, block: int, queries: Tokens, keys: Tokens) -> None:
    """Show the running maximum, sum and output of one row as tiles of keys are read."""
    inputs = _inputs(vectors)
    tiles = -(-inputs.keys // block)
    left, right = st.columns(2)
    row = left.selectbox(
        "Row",
        range(inputs.queries),
        index=inputs.queries - 1,
        format_func=lambda at: f"{shorten(queries.labels[at], 16)} ({at})",
        key="lab_row",
    )
    seen = [one for one in range(tiles) if not vectors.causal or one * block <= row]
    step = right.slider(
        "Tiles read", 1, max(2, len(seen)), len(seen), key=f"lab_tile:{block}:{row}"
    )
    step = min(step, len(seen))
    steps = list(flash_steps(inputs, slice(row, row + 1), block, seen))
    table: list[dict[str, Any]] = []
    before = -math.inf
    for at, (read, state) in enumerate(steps):
        highest = float(state.highest[0])
        table.append(
            {
                "tile": at,
                "keys": f"{read.start} to {read.stop - 1}",
                "highest score so far": highest,
                "earlier sums times": math.exp(before - highest),
                "sum of exponentials": float(state.total[0]),
                "length of the output so far": float(state.finished()[0].norm()),
            }
        )
        before = highest
    last = steps[step - 1][1]
    highest, total = float(last.highest[0]), float(last.total[0])
    scores = (inputs.query[row] @ inputs.key.mT * inputs.scale).numpy()
    weights = np.exp(scores - highest) / total
    weights[steps[step - 1][0].stop :] = np.nan
    weights[~inputs.visible()[row].numpy()] = np.nan
    show_picture(
        draw_rows(
            weights.astype(np.float32),
            keys.first(inputs.keys),
            label="share of the weight so far",
            limits=(0.0, 1.0),
            theme=current_theme(),
        ),
        key="lab_fold",
        filename="attnviz-flash-tiles",
        alt="Share of the weight of each key that has been read",
    )
    st.dataframe(pd.DataFrame(table[:step]), hide_index=True, key="lab_fold_table")
    wanted = vectors.run("exact").output[row]
    ours = steps[step - 1][1].finished()[0].numpy()
    length = float(np.linalg.norm(wanted))
    apart = float(np.linalg.norm(ours - wanted)) / length if length else 0.0
    st.caption(
        f"After {step} of {len(seen)} tiles the output differs from the exact one by {apart:.2g} "
        "of its length. When a tile brings a higher score, all earlier sums are multiplied by "
        "exp(old highest − new highest); no tile is read twice."
    )


def show_rounds(vectors: HeadVectors, devices: int) -> None:
    """Show which block of keys each device has in each round, and the bytes that travel."""
    result = vectors.run("ring", devices=devices)
    count = len(vectors.key[0])
    edges = [count * device // devices for device in range(devices + 1)]
    table = []
    for device in range(devices):
        row: dict[str, str] = {
            "device": f"{device}: queries {edges[device]} to {edges[device + 1] - 1}"
        }
        for step in range(devices):
            block = (device - step) % devices
            masked = vectors.causal and edges[block] > edges[device + 1] - 1
            row[f"round {step}"] = f"block {block}" + (", all masked: skipped" if masked else "")
        table.append(row)
    st.dataframe(pd.DataFrame(table), hide_index=True, key="lab_rounds")
    st.markdown(
        f"**{result.details['bytes_moved']:,}** bytes of keys and values move between devices; "
        f"**{result.details['skipped_blocks']}** of {devices * devices} blocks are masked and "
        "skipped. The result is the same for any number of devices."
    )
