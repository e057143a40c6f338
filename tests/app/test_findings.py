"""Test what newcomers stumbled over: kept metrics, pins, and the heads that Compare opens with."""

from __future__ import annotations

from tests.app.conftest import OpenApp, said

COMPARE = "pages/compare/pair.py"


def test_a_chosen_metric_is_kept_when_a_text_has_no_number_for_it(open_app: OpenApp) -> None:
    app = open_app(model="gpt-classroom")
    assert app.selectbox(key="metric").value == "induction"
    app.text_area[0].set_value("Hello").run()
    assert not app.exception
    assert app.selectbox(key="metric").value == "induction"
    assert "nothing repeats in this text" in said(app)
    app.text_area[0].set_value("The fox ran and the fox ran").run()
    assert app.selectbox(key="metric").value == "induction"
    assert "nothing repeats in this text" not in said(app)


def test_a_pin_shows_itself(open_app: OpenApp) -> None:
    app = open_app(model="gpt-classroom", layer=1, head=5)
    app.button(key="pin").click().run()
    assert next(one.value for one in app.toast).startswith("Pinned L1·H5")
    assert app.button(key="pin").label == "Pinned"
    app.selectbox(key="head").select(1).run()
    assert app.button(key="pin").label == "Pin"


def test_compare_opens_on_the_open_head_beside_the_pinned_one(open_app: OpenApp) -> None:
    app = open_app(model="gpt-classroom", layer=1, head=5)
    app.button(key="pin").click().run()
    app.selectbox(key="head").select(1).run()
    app.switch_page(COMPARE).run()
    shown = [
        app.selectbox(key=f"{side}_{name}").value for side in "ab" for name in ("layer", "head")
    ]
    assert shown == [1, 1, 1, 5]


def test_the_number_of_tokens_stands_beside_its_limit(open_app: OpenApp) -> None:
    app = open_app(model="gpt-classroom")
    app.text_area[0].set_value("the " * 300).run()
    assert "256 of 256 tokens" in [one.value for one in app.sidebar.caption]
    app.text_area[0].set_value("Hello").run()
    counted = [one.value for one in app.sidebar.caption if one.value.endswith(" of 256 tokens")]
    assert len(counted) == 1
    assert 1 <= int(counted[0].split()[0]) < 10


def test_induction_names_the_model_that_cannot_do_it(open_app: OpenApp) -> None:
    app = open_app("pages/explore/induction.py", model="bert-classroom")
    assert any("does not continue texts" in one.value and "bert" in one.value for one in app.info)
