"""Prediction of the budget at which a cut cache breaks the loss, and its measurement."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import streamlit as st

from attnviz.experiments.generation.budget_losses import (
    GROUP,
    BudgetLosses,
    Rule,
    budget_losses,
)
from attnviz.experiments.text_sets import bundled
from attnviz.findings import Progress
from attnviz.models import Model, encode
from attnviz.ui.components.browser_theme import current_theme
from attnviz.ui.components.choices import choice
from attnviz.ui.components.figures_and_tables import show_picture
from attnviz.ui.jobs.background_jobs import Work
from attnviz.ui.jobs.long_jobs import wait_for
from attnviz.ui.server.run_places import giving_way_by_count
from attnviz.views.charts.predicted_bars import draw_budget_losses
from attnviz.written_numbers import nats

__all__ = ["ALLOWED", "show_break"]

ALLOWED = 0.1
"""Nats above the loss of the whole cache that count as unbroken."""

LEAST, MOST = 64, 160
"""Tokens of a text whose loss is measured."""

BUDGETS = (2, 4, 8, 16, 32, 64)
BITS = (2, 4, 8)
ROUNDING = ("round", "other axes")
RULES: dict[Rule, str] = {
    "window": "the last tokens",
    "first": "the first token and the last ones",
    "heavy": "heavy hitters",
    "round": "fewer bits: keys per channel, values per token",
    "other axes": "fewer bits: keys per token, values per channel",
}
ROUNDED = (
    f" Groups of {GROUP} tokens share a scale. In larger models some channels of the keys are far "
    "larger than the others, and the axes matter more (Liu et al. 2024)."
)
OWN, STORIES = "the text of the side bar", "stories of the package"
PREDICTED = "cache_predicted"


def show_break(model: Model, ids: tuple[int, ...]) -> None:
    """Take a prediction, then measure the loss at every budget and show both."""
    st.subheader("Where does the loss break?", anchor=False)
    st.write(
        "A smaller cache forgets tokens, or keeps numbers of fewer bits. Predict the smallest at "
        f"which the loss stays within {ALLOWED} nats of the whole cache."
    )
    texts = ([OWN] if len(ids) >= LEAST else []) + [STORIES]
    left, right = st.columns(2)
    with left:
        rule: Rule = choice("The cache keeps", RULES, "cache_rule", shape="menu")
    with right:
        text = choice("Text", texts, "cache_text", shape="menu")
    read = ids[:MOST] if text == OWN else _stories(model)
    rounds = rule in ROUNDING
    budgets = list(BITS) if rounds else [one for one in BUDGETS if one < len(read) // 2]
    unit = "bits" if rounds else "tokens"
    key = ("break", model.info.name, model.info.revision, read, rule)
    predictions: dict[Hashable, int] = st.session_state.setdefault(PREDICTED, {})
    if key not in predictions:
        with st.container(width=420):
            guess = st.select_slider(
                "Bits per number" if rounds else "Tokens kept",
                budgets,
                budgets[-1] if rounds else budgets[0],
                key="cache_guess_bits" if rounds else "cache_guess",
            )
        st.button(
            "This is my prediction",
            icon=":material/lock:",
            key="cache_predict",
            on_click=predictions.__setitem__,
            args=(key, int(guess)),
        )
        return
    st.markdown(f"Your prediction: **{predictions[key]}** {unit}.")
    losses = _measured(model, read, rule, budgets, key)
    if losses is not None:
        _reveal(losses, predictions[key], unit)


@st.cache_data(show_spinner=False)
def _stories_of(name: str, revision: str, _model: Model) -> tuple[int, ...]:
    ids: list[int] = []
    for text in bundled("decoder").texts:
        ids += encode(_model, text.source, begin=not ids, cut=True).ids
        if len(ids) >= MOST:
            break
    return tuple(ids[: min(MOST, _model.info.max_tokens or MOST)])


def _stories(model: Model) -> tuple[int, ...]:
    """Return the ids of bundled texts, joined."""
    return _stories_of(model.info.name, model.info.revision, model)


def _measured(
    model: Model, ids: tuple[int, ...], rule: Rule, budgets: list[int], key: Hashable
) -> BudgetLosses | None:
    def work() -> Work[BudgetLosses]:
        def run(progress: Callable[[Progress], None]) -> BudgetLosses:
            counted = giving_way_by_count(progress, "Token")
            return budget_losses(model, ids, rule, budgets, progress=counted)

        return run

    return wait_for(key, work, "Measure every budget")


def _reveal(losses: BudgetLosses, predicted: int, unit: str) -> None:
    measured = losses.breaks_below(ALLOWED)
    show_picture(
        draw_budget_losses(
            losses.budgets,
            losses.losses,
            whole=losses.whole,
            allowed=ALLOWED,
            predicted=predicted,
            measured=measured,
            label="bits per number" if unit == "bits" else "tokens kept",
            theme=current_theme(),
        ),
        key="cache_break",
        filename="attnviz-cache-break",
        alt=f"Loss against the number of {unit} that the cache keeps, with your prediction",
    )
    if measured is None:
        said = f"None of these budgets stays within {ALLOWED} nats. You said {predicted}."
    elif measured == predicted:
        said = f"Right: {measured} {unit} are enough."
    else:
        said = f"Measured: {measured} {unit}. You said {predicted}."
    st.markdown(f"**{said}**")
    st.caption(
        f"Mean loss of the last {losses.measured} tokens; the dashed line is that of the whole "
        f"cache, {nats(losses.whole)} nats, and the band above it is {ALLOWED} nats high. Another "
        "text or rule can break elsewhere." + (ROUNDED if unit == "bits" else "")
    )
