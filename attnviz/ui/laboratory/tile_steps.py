"""FlashAttention tile by tile, and ring attention round by round, on the open head."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from attnviz.efficient.methods.flash import flash_steps
from attnviz.efficient.methods.result import Inputs, prepare
from attnviz.efficient.methods.ring import Visit, ring_rounds
from attnviz.types import Tokens
from attnviz.ui.components.choices import choice
from attnviz.ui.components.served_component import ServedComponent
from attnviz.ui.laboratory.head_vectors import HeadVectors
from attnviz.views.style.safe_labels import shorten
from attnviz.written_numbers import size

__all__ = ["show_rounds", "show_tiles", "tile_steps"]

STYLES = ("buttons", "steps/step_player")

_fold = ServedComponent("fold", '<div class="fold"></div>', "steps", STYLES)
_ring = ServedComponent("ring", '<div class="ring"></div>', "steps", STYLES)

ORDERS = {"first": "first to last", "last": "last to first"}


def _inputs(vectors: HeadVectors) -> Inputs:
    return prepare(*vectors.of_head(vectors.head.head), vectors.causal, vectors.scale)


def tile_steps(
    inputs: Inputs, row: int, block: int, order: Sequence[int]
) -> list[dict[str, float | int]]:
    """Return the state of one row after each tile.

    Each has `start` and `stop` of the tile's keys; `highest` score so far; `factor`, with which the
    earlier sums were multiplied; `rescaled`, the sum of the earlier tiles after that; `total`, the
    sum with this tile; and `error`, the difference of the output so far from the exact one,
    relative to its length.
    """
    scores = inputs.query[row] @ inputs.key.mT * inputs.scale
    scores = scores.masked_fill(~inputs.visible()[row], -math.inf)
    exact = scores.softmax(-1) @ inputs.value
    length = float(exact.norm()) or 1.0
    highest, total, steps = -math.inf, 0.0, []
    for keys, state in flash_steps(inputs, slice(row, row + 1), block, order):
        now = float(state.highest[0])
        factor = math.exp(highest - now) if total else 1.0
        steps.append(
            {
                "start": keys.start,
                "stop": keys.stop,
                "highest": now,
                "factor": factor,
                "rescaled": total * factor,
                "total": float(state.total[0]),
                "error": float((state.finished()[0] - exact).norm()) / length,
            }
        )
        highest, total = now, float(state.total[0])
    return steps


def _show(component: ServedComponent, content: Mapping[str, Any], key: str) -> None:
    """Show a component; its steps begin again when the content is another one."""
    name = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    component(data={**content, "name": name}, key=key)


def show_tiles(vectors: HeadVectors, block: int, queries: Tokens, keys: Tokens) -> None:
    """Show the running maximum, sum and output of one row as tiles of keys are read."""
    inputs = _inputs(vectors)
    left, right = st.columns(2)
    row = left.selectbox(
        "Row",
        range(inputs.queries),
        index=inputs.queries - 1,
        format_func=lambda at: f"{shorten(queries.labels[at], 16)} ({at})",
        key="lab_row",
    )
    with right:
        direction = choice("Order of the tiles", ORDERS, "lab_order")
    tiles = range(-(-inputs.keys // block))
    seen = [one for one in tiles if bool(inputs.visible()[row, one * block :][:block].any())]
    steps = tile_steps(inputs, row, block, seen if direction == "first" else seen[::-1])
    scores = (inputs.query[row] @ inputs.key.mT * inputs.scale).numpy()
    visible = inputs.visible()[row].numpy()
    shown = int(np.flatnonzero(visible)[-1]) + 1
    for step in steps:
        step["stop"] = min(int(step["stop"]), shown)
    content = {
        "labels": [shorten(label, 16) for label in keys.labels[:shown]],
        "scores": [
            float(score) if seen_ else None
            for score, seen_ in zip(scores[:shown], visible[:shown], strict=True)
        ],
        "tiles": steps,
    }
    _show(_fold, content, "lab_fold")
    st.caption(
        "A bar is exp(score − highest score so far). When a tile brings a higher score, all "
        "earlier bars and sums shrink by exp(old highest − new highest). No tile is read twice, "
        "and any order ends with the same weights."
    )
    with st.expander("All steps as a table"):
        st.dataframe(pd.DataFrame(steps), hide_index=True, key="lab_fold_table")


def show_rounds(vectors: HeadVectors, devices: int) -> None:
    """Show which block of keys each device has in each round, and the bytes that travel."""
    rounds = list(ring_rounds(_inputs(vectors), devices))
    moved = list(accumulate(sum(visit.received for visit in one) for one in rounds))
    content = {
        "devices": [_range(visit.queries) for visit in rounds[0]],
        "rounds": [
            [{"block": visit.block, "skipped": visit.skipped} for visit in one] for one in rounds
        ],
        "moved": [size(one) for one in moved],
    }
    _show(_ring, content, "lab_ring")
    skipped = sum(visit.skipped for one in rounds for visit in one)
    st.markdown(
        f"**{size(moved[-1])}** of keys and values move between devices; **{skipped}** of "
        f"{devices * devices} blocks are masked and skipped. The result is the same for any number "
        "of devices."
    )
    with st.expander("All rounds as a table"):
        st.dataframe(_table(rounds), hide_index=True, key="lab_rounds")


def _range(positions: slice) -> str:
    """Return the positions of a device as words."""
    if positions.start == positions.stop:
        return "none"
    return f"{positions.start}–{positions.stop - 1}"


def _table(rounds: Sequence[Sequence[Visit]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "device": f"{device}: queries {_range(first.queries)}",
                **{
                    f"round {step}": f"block {one[device].block}"
                    + (", all masked: skipped" if one[device].skipped else "")
                    for step, one in enumerate(rounds)
                },
            }
            for device, first in enumerate(rounds[0])
        ]
    )
