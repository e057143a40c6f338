"""Compare, Induction and Learn."""

from __future__ import annotations

import re

import numpy as np

import attnviz
from attnviz import metrics
from attnviz.experiments.repetition import repeat_random
from attnviz.written_numbers import nats
from tests.app.conftest import OpenApp, maps, said

COMPARE = "pages/compare/pair.py"
INDUCTION = "pages/explore/induction.py"


def test_compare_shows_two_heads_their_difference_and_divergence(open_app: OpenApp) -> None:
    app = open_app(COMPARE)
    assert not app.exception
    assert len(maps(app)) == 2
    assert len(app.get("plotly_chart")) == 1
    app.selectbox(key="a_layer").select(0)
    app.selectbox(key="a_head").select(1)
    app.selectbox(key="b_layer").select(2)
    app.selectbox(key="b_head").select(3).run()
    stack = attnviz.capture(attnviz.load("gpt-classroom"), app.text_area[0].value)["self"]
    expected = metrics.jensen_shannon(stack.weights(0, 1), stack.weights(2, 3)).mean()
    assert f"{nats(float(expected))} nats" in said(app)


def test_a_head_compared_with_itself_differs_by_nothing(open_app: OpenApp) -> None:
    app = open_app(COMPARE)
    for letter in "ab":
        app.selectbox(key=f"{letter}_layer").select(1)
        app.selectbox(key=f"{letter}_head").select(1)
    app.run()
    assert re.search(r"\*\*(0|0\.000|<0\.001) nats", said(app))


def test_different_texts_are_shown_but_not_subtracted(open_app: OpenApp) -> None:
    app = open_app(COMPARE)
    app.selectbox(key="b_source").select("Another text or model").run()
    app.selectbox(key="b_model").select("bert-classroom").run()
    assert not app.exception
    assert len(maps(app)) == 2
    assert not app.get("plotly_chart")
    assert "No cell by cell difference" in said(app)


def test_a_pinned_head_is_offered_with_its_own_text(open_app: OpenApp) -> None:
    app = open_app(model="gpt-classroom", layer=3, head=2)
    app.text_area[0].set_value("pin this text, pin this text").run()
    next(button for button in app.button if button.label == "Pin").click().run()
    app.text_area[0].set_value("and now another one").run()
    app.switch_page(COMPARE).run()
    assert app.selectbox(key="b_source").value == "The pinned head"
    assert "pin this text" in said(app).replace("\\", "")
    assert app.selectbox(key="b_layer").value == 3
    assert app.selectbox(key="b_head").value == 2


def test_induction_reports_what_the_experiment_measures(open_app: OpenApp) -> None:
    app = open_app(INDUCTION)
    assert not app.exception
    result = repeat_random(attnviz.load("gpt-classroom"), period=50, sequences=4, seed=0)
    best = np.nanmax(result.scores["induction"])
    assert f"{nats(abs(result.gain))} nats per token" in said(app)
    assert f"score of **{best:.2f}**" in said(app)
    assert len(app.get("plotly_chart")) == 2
    (heads,), (stripe,) = maps(app, "head"), maps(app)
    assert heads["selects"] == "cell"
    assert [one["offset"] for one in stripe["marks"]] == [49, 50]


def test_induction_shows_a_text_only_where_it_is_repeated(open_app: OpenApp) -> None:
    app = open_app()
    app.text_area[0].set_value("The king sat. The king").run()
    app.switch_page(INDUCTION).run()
    assert not app.text_area  # random tokens are repeated
    app.session_state["repeat"] = "The text in the side bar"
    app.run()
    assert app.text_area[0].value == "The king sat. The king"


def test_induction_on_ones_own_text(open_app: OpenApp) -> None:
    app = open_app(INDUCTION)
    app.session_state["repeat"] = "The text in the side bar"
    app.run()
    assert not app.exception
    assert not app.error
    app.text_area[0].set_value("word " * 300).run()
    assert "use at most" in app.error[0].value.replace("\\", "")


def test_induction_explains_itself_to_models_that_do_not_continue(open_app: OpenApp) -> None:
    for model in ("bert-classroom", "t5-classroom"):
        app = open_app(INDUCTION, model=model)
        assert not app.exception
        assert "Choose a GPT" in app.info[0].value


def test_learn_explains_every_metric(open_app: OpenApp) -> None:
    app = open_app("pages/learn/numbers.py")
    assert not app.exception
    labels = [expander.label for expander in app.expander]
    for name in metrics.names():
        assert any(label.startswith(metrics.describe(name).label) for label in labels)
