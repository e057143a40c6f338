"""Cache of keys and values: its size, and what cutting it does to every next token."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st

from attnviz.efficient.layer_stack import layer_bytes
from attnviz.efficient.published_stacks import PUBLISHED
from attnviz.experiments.generation.cache_cuts import CacheCut
from attnviz.experiments.generation.cut_losses import CutRun, run_with_cuts
from attnviz.findings import Progress
from attnviz.models import Model, tokens
from attnviz.types import Tokens
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.choices import choice, choices
from attnviz.ui.components.figures_and_tables import show_picture, show_table
from attnviz.ui.generate.cache_growth import show_growth
from attnviz.ui.generate.written_text import Written
from attnviz.ui.jobs.background_jobs import Work
from attnviz.ui.jobs.long_jobs import wait_for
from attnviz.ui.server.run_places import giving_way_by_count
from attnviz.views.charts.memory_sizes import draw_memory_points
from attnviz.views.charts.token_lines import draw_token_lines
from attnviz.written_numbers import size

__all__ = ["MOST_CUT", "show_cache"]

MOST_CUT = 512
"""Most tokens of a text that is read once per rule."""

COMPARED = {"Llama 2 7B": 4096, "Llama 2 70B": 4096, "Mistral 7B": 4096, "Llama 3 8B": 131_072}
"""Published models and the numbers of tokens at which their caches are shown, in 16 bits."""

RULES = {
    "window": "the last tokens",
    "first": "the first and the last tokens",
    "heavy": "heavy hitters",
    "int8": "8 bits",
    "int4": "4 bits",
    "int2": "2 bits",
    "wrong": "2 bits, the other axes",
}


def show_cache(model: Model, written: Written) -> None:
    """Show the size of the cache, and let it be cut."""
    st.subheader("The cache of keys and values", anchor=False)
    st.caption(
        "Keys and values of the tokens so far are kept, so that a new token costs one row of "
        "attention. The cache grows with every token."
    )
    _size(model, written)
    if model.info.family != "decoder":
        st.caption("Caches of decoders such as a GPT can be cut here; this model has two stacks.")
        return
    _cuts(model, written)


def _size(model: Model, written: Written) -> None:
    if not written.steps:
        return
    layers = written.steps[-1].cache_bytes
    now = sum(layers.values())
    read = written.steps[-1].position + 1
    st.markdown(
        f"**{size(now)}** after {read} tokens: {len(layers)} layers, "
        f"{size(now / read)} per token, in {model.info.dtype}."
    )
    show_growth(model, written)
    sizes: dict[str, float] = {f"this text, {read} tokens": now}
    limit = model.info.max_tokens
    if limit is not None and model.info.family == "decoder":
        full = now / read * limit
        sizes[f"this model, {limit:,} tokens"] = full
    for name, length in COMPARED.items():
        sizes[f"{name}, {length:,} tokens"] = float(
            layer_bytes(PUBLISHED[name].layers, length).sum()
        )
    show_picture(
        draw_memory_points(sizes, marked=next(iter(sizes)), theme=current_theme()),
        key="cache_memory",
        filename="attnviz-cache-memory",
        alt="Bytes of the cache of this text beside those of published models",
    )


def _cuts(model: Model, written: Written) -> None:
    """Show the rules, a button, and the effect on every next token."""
    st.markdown("**Cut it**: the text above is read again with each rule, token by token.")
    chosen = choices("Keep", RULES, "cut_rules", first=("window", "first", "heavy"))
    with st.container(width=420):
        budget = st.select_slider(
            "Tokens kept", (2, 4, 8, 16, 32, 64, 128, 256), 8, key="cut_budget",
            persist_state="session",
            help="A query sees this many tokens, itself included. For heavy hitters half of them "
            "are the last ones.",
        )  # fmt: skip
    ids = written.ids[:-1] if written.ended else written.ids
    if len(ids) < 2:
        st.caption("The text has one token: there is no next token to predict.")
        return
    if len(ids) > MOST_CUT:
        st.caption(f"The first {MOST_CUT} tokens are read.")
        ids = ids[:MOST_CUT]
    if not chosen:
        st.caption("Choose at least one rule.")
        return
    rules = [_rule(name, int(budget)) for name in RULES if name in chosen]
    runs = _measured(model, ids, rules)
    if runs is not None:
        _show(model, ids, rules, runs)


def _rule(name: str, budget: int) -> CacheCut:
    if name in ("window", "first", "heavy"):
        return CacheCut(name, budget)  # type: ignore[arg-type]
    if name == "wrong":
        return CacheCut("round", bits=2, group=8, key_axis="token", value_axis="channel")
    return CacheCut("round", bits=int(name.removeprefix("int")), group=8)


def _measured(
    model: Model, ids: tuple[int, ...], rules: list[CacheCut]
) -> tuple[CutRun, ...] | None:
    """Return the runs once the background job has finished."""

    def work() -> Work[tuple[CutRun, ...]]:
        def run(progress: Callable[[Progress], None]) -> tuple[CutRun, ...]:
            counted = giving_way_by_count(progress, "Token")
            return run_with_cuts(model, ids, rules, progress=counted)

        return run

    key = ("cuts", model.info.name, model.info.revision, ids, tuple(rules))
    runs: tuple[CutRun, ...] | None = wait_for(key, work, "Measure the cuts")
    return runs


def _show(
    model: Model, ids: tuple[int, ...], rules: list[CacheCut], runs: tuple[CutRun, ...]
) -> None:
    named = ["whole", *(rule.label for rule in rules)]
    shown: Tokens = tokens(model.vocabulary, ids)
    table = pd.DataFrame(
        {
            "cache": named,
            "loss, nats per token": [round(run.mean_loss, 3) for run in runs],
            "more than whole": [round(run.mean_loss - runs[0].mean_loss, 3) for run in runs],
            "mean divergence, nats": [round(float(run.divergence.mean()), 4) for run in runs],
            "bytes": [int(run.bytes[-1]) for run in runs],
        }
    )
    show_table(table, key="cut_table", filename="attnviz-cut-cache")
    if len(rules) > 1 and any(rule.method != "round" for rule in rules):
        budget = max(rule.budget for rule in rules if rule.method != "round")
        if budget >= len(ids):
            st.caption(f"The text has {len(ids)} tokens: a budget of {budget} drops none of them.")
    which = choice("Show", ["Divergence", "Loss"], "cut_line", show_label=False)
    if which == "Loss":
        curves = {
            name: np.concatenate([[np.nan], run.losses])
            for name, run in zip(named, runs, strict=True)
        }
        label, alt = "loss of this token", "Loss of each token with each cache"
    else:
        curves = {rule.label: run.divergence for rule, run in zip(rules, runs[1:], strict=True)}
        label = "KL from the whole cache"
        alt = "Divergence of the next-token distribution at each token"
    show_picture(
        draw_token_lines(curves, shown, label=label, unit="nats", theme=current_theme()),
        key="cut_lines",
        filename="attnviz-cut-cache",
        alt=alt,
    )
