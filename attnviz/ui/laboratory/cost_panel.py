"""Costs of a variant up to a million tokens, and all variants on one head."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pandas as pd
import streamlit as st

from attnviz import efficient
from attnviz.efficient import Variant
from attnviz.efficient.costs import Cost, cost
from attnviz.efficient.variant_errors import Trade, best_within
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.choices import choice
from attnviz.ui.components.figures_and_tables import show_picture, show_table
from attnviz.ui.laboratory.head_vectors import HeadVectors
from attnviz.views.charts.cost_curves import TradePoints, draw_costs, draw_trades
from attnviz.written_numbers import count, decimals, percent

__all__ = ["show_all_variants", "show_costs"]

LENGTHS = tuple(round(10 ** (2 + step / 8)) for step in range(33))  # 100 to 1,000,000
ASKED = (128, 512, 1_024, 4_096, 16_384, 32_768, 128_000, 1_000_000)
COSTS = {
    "operations": "multiplications",
    "held": "bytes of intermediate numbers",
    "moved": "bytes between memory and processor",
}
BYTES = 2
"""Bytes of a number: 16 bits."""

SOUGHT = 128_000
"""Length at which a head compares 16.4 billion pairs in each layer."""

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)


def show_costs(variant: Variant, vectors: HeadVectors, options: dict[str, int]) -> None:
    """Draw costs against the length of the text, for exact attention and a variant."""
    what = choice("Cost", COSTS, "lab_cost")
    st.markdown(
        "**Find it**: at which length does one head of one layer have 16.4 billion pairs of a "
        "query and a key?"
    )
    length = st.select_slider(
        "Tokens", ASKED, value=1_024, format_func=lambda one: f"{one:,}", key="lab_length"
    )
    heads, _, d = vectors.query.shape
    sizes = {"d": d, "d_value": vectors.value.shape[-1], "causal": vectors.causal}

    def costs(name: str, tokens: int) -> Cost:
        more = options if name == variant.name else {}
        return cost(name, tokens, **sizes, **{"heads": heads, **more})

    names = ["exact", *([variant.name] if variant.name != "exact" else [])]
    curves = {
        efficient.describe(name).label: np.array(
            [getattr(costs(name, tokens), what) for tokens in LENGTHS], dtype=float
        )
        * (1 if what == "operations" else BYTES)
        for name in names
    }
    figure = draw_costs(
        np.array(LENGTHS),
        curves,
        label=COSTS[what],
        in_bytes=what != "operations",
        marked=length,
        theme=current_theme(),
    )
    show_picture(
        figure,
        key="lab_costs",
        filename=f"attnviz-{variant.name}-costs",
        alt=f"{COSTS[what]} against the number of tokens",
    )
    if length == SOUGHT:
        st.success(
            f"Here it is: {length:,} tokens have {decimals(length**2 / 1e9, 1)} billion pairs, "
            "per head and layer.",
            icon=":material/check:",
        )
    pairs = length * (length + 1) // 2 if vectors.causal else length**2
    ours = costs(variant.name, length)
    st.markdown(
        f"At {length:,} tokens exact attention computes **{pairs:,}** scores per head and layer"
        + (f" (of {length**2:,} pairs; later keys are masked)" if vectors.causal else "")
        + f". {variant.label}: "
        + (
            f"**{count(ours.pairs)}** scores"
            if ours.pairs
            else f"no scores, and {count(ours.held)} intermediate numbers"
        )
        + "."
    )
    if ours.cached is None:
        kept = f"a state of {count(ours.held)} numbers, whatever the length"
    else:
        kept = f"{count(ours.cached)} numbers per token and head"
    st.caption(
        f"While a text is generated, {variant.label} keeps {kept}. Counted for {d} numbers per "
        "query and key, as in this head, of 16 bits. Fewer multiplications do not always mean less "
        "time: a processor is quickest with large dense products, and small or irregular ones "
        "leave it waiting for memory."
    )


def show_all_variants(vectors: HeadVectors) -> None:
    """Draw the error of every approximation of the open head against its cost."""
    trades = vectors.trades()
    _at_equal_budget(trades)
    groups = [list(group) for _, group in groupby(trades, key=lambda one: one.name)]
    figure = draw_trades(
        [
            TradePoints(
                efficient.describe(group[0].name).label,
                [one.setting or 0 for one in group],
                [one.share for one in group],
                [one.error for one in group],
            )
            for group in groups
        ],
        theme=current_theme(),
    )
    show_picture(
        figure,
        key="lab_trades",
        filename="attnviz-all-variants",
        alt="Error against cost of every approximation, on the open head",
    )
    st.caption(
        "Each point is a variant at one setting, run on this head. Left of the dotted line it "
        "multiplies less than exact attention on this text; a short text leaves little to save. "
        "The error is the length of the difference of the outputs, relative to the exact outputs; "
        "errors below 0.0001 are drawn at 0.0001. Linear attention and state spaces are other "
        "models and have no error here."
    )


def _at_equal_budget(trades: list[Trade]) -> None:
    """Show the best setting of each variant among those that multiply at most so much."""
    share = st.select_slider(
        "Equal budget: at most this share of the multiplications of exact attention",
        SHARES,
        0.5,
        format_func=percent,
        key="lab_share",
        persist_state="session",
    )
    fitting = best_within(trades, share)
    if not fitting:
        st.caption("No variant fits into this budget on so short a text.")
        return
    table = pd.DataFrame(
        [
            {
                "variant": efficient.describe(one.name).label,
                "setting": one.setting,
                "multiplications of exact": round(one.share, 3),
                "error of the outputs": float(f"{one.error:.3g}"),
            }
            for one in fitting
        ]
    )
    show_table(table, key="lab_budget", filename="attnviz-equal-budget")
    missing = len({one.name for one in trades}) - len(fitting)
    if missing:
        st.caption(f"{missing} of the variants have no setting within this budget on this text.")
