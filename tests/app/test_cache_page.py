"""Page *Cache*: with and without, sizes, layers, and the predicted break."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import attnviz
from attnviz.experiments.generation.budget_losses import BudgetLosses, budget_losses
from attnviz.experiments.generation.cache_saving import measure_saving
from attnviz.experiments.generation.token_by_token import prompt_ids
from attnviz.models import Model
from attnviz.ui.jobs.long_jobs import long_jobs
from attnviz.ui.laboratory import break_prediction
from attnviz.ui.laboratory.break_prediction import ALLOWED, BUDGETS, _stories
from attnviz.ui.laboratory.saving_panel import COUNT
from attnviz.written_numbers import nats
from tests.app.conftest import OpenApp, said, until

PAGE = "pages/learn/cache.py"
Measured = list[tuple[tuple[object, ...], BudgetLosses]]
"""What was read, and its losses."""


def measure(app: AppTest, verb: str) -> AppTest:
    """Press a button that measures, wait for the job, and draw the page again."""
    app.button(key=f"start:{verb}").click().run()
    until(lambda: long_jobs().unfinished == 0, 120)
    app.run()
    assert not app.exception
    return app


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Return the list that gets what the page measures: the ids, rule and budgets, and losses."""
    kept: Measured = []

    def keeping(model: Model, ids: Any, rule: Any, budgets: Any, **more: Any) -> BudgetLosses:
        losses = budget_losses(model, ids, rule, budgets, **more)
        kept.append(((model.info.name, tuple(ids), rule, tuple(budgets)), losses))
        return losses

    monkeypatch.setattr(break_prediction, "budget_losses", keeping)
    return kept


def drawn(app: AppTest, key: str) -> dict[str, object]:
    """Return the specification of a figure."""
    charts = [one.proto for one in app.get("plotly_chart") if one.proto.id.endswith(f"-{key}")]
    specification: dict[str, object] = json.loads(charts[0].spec)
    return specification


def test_both_ways_are_measured(open_app: OpenApp) -> None:
    app = open_app(PAGE)
    assert not app.exception
    measure(app, f"Write {COUNT} tokens both ways")
    model = attnviz.load("gpt-classroom")
    ids = prompt_ids(model, app.text_area[0].value).ids
    saving = measure_saving(model, ids, COUNT, repeats=1)
    fewer = saving.again[1:].sum() / saving.cached[1:].sum()
    assert app.metric[0].value == f"{fewer:.1f}"
    assert "Both ways write the same tokens" in said(app)


def test_the_formula_equals_the_library_s_cache(open_app: OpenApp) -> None:
    for name, size in (("gpt-classroom", 2 * 4 * 8 * 32 * 4), ("hybrid-classroom", 2 * 2 * 32 * 4)):
        app = open_app(PAGE, model=name)
        assert not app.exception
        tokens = len(prompt_ids(attnviz.load(name), app.text_area[0].value).ids)
        line = next(one.value for one in app.markdown if "by the formula" in one.value)
        assert line.count(f"**{tokens * size:,}**") == 2


def test_a_prediction_comes_before_the_measurement(open_app: OpenApp, measured: Measured) -> None:
    app = open_app(PAGE)
    app.selectbox(key="cache_rule").select("first").run()
    assert not [one for one in app.button if one.key == "start:Measure every budget"]
    app.select_slider(key="cache_guess").set_value(16).run()
    app.button(key="cache_predict").click().run()
    measure(app, "Measure every budget")
    model = attnviz.load("gpt-classroom")
    ((given, losses),) = measured
    assert given == (model.info.name, _stories(model), "first", BUDGETS)
    below = losses.breaks_below(ALLOWED)
    assert f"**{'Right' if below == 16 else 'Measured'}: {below} tokens" in said(app)
    spec = drawn(app, "cache_break")
    shapes = spec["layout"]["shapes"]  # type: ignore[index]
    assert {one["x0"] for one in shapes if one["type"] == "line"} >= {16, below}
    assert f"{nats(losses.whole)} nats" in said(app)
    assert np.isfinite(losses.losses).all()


def test_a_prediction_of_bits(open_app: OpenApp, measured: Measured) -> None:
    app = open_app(PAGE)
    app.selectbox(key="cache_rule").select("other axes").run()
    app.select_slider(key="cache_guess_bits").set_value(4).run()
    app.button(key="cache_predict").click().run()
    measure(app, "Measure every budget")
    model = attnviz.load("gpt-classroom")
    ((given, losses),) = measured
    assert given == (model.info.name, _stories(model), "other axes", (2, 4, 8))
    below = losses.breaks_below(ALLOWED)
    assert f"**{'Right' if below == 4 else 'Measured'}: {below} bits" in said(app)
    assert f"{nats(losses.whole)} nats" in said(app)
    assert "Groups of 8 tokens" in said(app)


def test_models_without_a_cache_get_a_sentence(open_app: OpenApp) -> None:
    for name in ("bert-classroom", "t5-classroom"):
        app = open_app(PAGE, model=name)
        assert not app.exception
        assert "Choose a GPT" in said(app)
