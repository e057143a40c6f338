"""Page *Edit*: edits are added, listed, undone, linked, and their effects are those of two runs."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import attnviz
from attnviz import Edit
from attnviz.experiments.edits.edit_effects import effect_of
from attnviz.experiments.edits.edit_rules import paint
from attnviz.models import encode
from attnviz.types import Head
from attnviz.ui.edit import edit_runs
from attnviz.ui.edit.edit_links import MOST_EDITS, from_code, to_code
from attnviz.ui.edit.edit_list import LIST
from attnviz.ui.edit.listed_edits import ListedEdit, MaskedToken, RowsOfText
from attnviz.ui.edit.row_painter import shares
from attnviz.ui.jobs.long_jobs import long_jobs
from attnviz.written_numbers import nats, percent
from tests.app.conftest import OpenApp, maps, said, until
from tests.bounds import MODEL

PAGE = "pages/cause/edit.py"
HEAD = Head("self", 1, 5)
OFF = Edit("zero", HEAD)


@pytest.fixture
def page(open_app: OpenApp) -> OpenApp:
    """Open the page with empty caches."""
    for shelf in (edit_runs._CAPTURES, edit_runs._EFFECTS, edit_runs._HEADS):
        shelf.clear()
    return lambda **link: open_app(PAGE, **link)


def press(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click().run()
    assert not app.exception
    return app


def edits(app: AppTest) -> tuple[ListedEdit, ...]:
    """Return the list of the page."""
    listed: tuple[ListedEdit, ...] = app.session_state[LIST]
    return listed


def code(app: AppTest) -> str:
    """Return the edits in the address."""
    values = app.query_params.get("edits", "")
    return values[0] if isinstance(values, list) else values


def test_an_edit_is_added_seen_undone_and_cleared(page: OpenApp) -> None:
    app = page(layer=1, head=5)
    assert "Try one of these" in said(app)
    press(app, "edit_add")
    assert edits(app) == (OFF,)
    assert code(app) == "zero_self_1_5"
    model = attnviz.load("gpt-classroom")
    ids = encode(model, app.text_area[0].value)
    effect = effect_of(model, ids, [OFF])
    first = max(effect.candidates, key=lambda one: one.before)
    assert f"from {percent(first.before)} to {percent(first.after)}" in said(app)
    losses = [one[: len(ids.ids) - 1].mean() for one in (effect.before, effect.after)]
    assert f"Mean loss {nats(losses[0])} → {nats(losses[1])} nats" in said(app)
    press(app, "edit_undo")
    assert edits(app) == ()
    assert code(app) == ""
    assert "Try one of these" in said(app)
    press(app, "edit_add")
    app.segmented_control(key="edit_action").set_value("scale").run()
    app.slider(key="edit_factor").set_value(-1.0).run()
    press(app, "edit_add")
    assert edits(app) == (OFF, Edit("scale", HEAD, factor=-1.0))
    press(app, "edit_remove:0")
    assert edits(app) == (Edit("scale", HEAD, factor=-1.0),)
    press(app, "edit_clear")
    assert edits(app) == ()
    press(app, "edit_undo")
    assert edits(app) == (Edit("scale", HEAD, factor=-1.0),)


def test_maps_before_and_after_are_those_of_the_model(page: OpenApp) -> None:
    app = page(edits="first_self_1_5", layer=1, head=5)
    assert app.selectbox(key="edit_map").value == "L1·H5"
    model = attnviz.load("gpt-classroom")
    text = app.text_area[0].value
    plain = attnviz.capture(model, text)["self"].weights(1, 5)
    before, after = [one for one in maps(app) if one["corner"].startswith("key")]
    np.testing.assert_allclose(np.nan_to_num(before["weights"]), plain, atol=MODEL)
    expected = np.zeros_like(plain)
    expected[:, 0] = 1
    np.testing.assert_allclose(np.nan_to_num(after["weights"]), expected, atol=MODEL)


def test_a_link_opens_the_same_edits(page: OpenApp) -> None:
    listed: tuple[ListedEdit, ...] = (
        OFF,
        Edit("hide", token=3, kind="self"),
        paint(Head("self", 0, 2), {4: (0.25, 0.0, 0.75)}),
    )
    app = page(edits=to_code(listed))
    assert edits(app) == listed
    assert code(app) == to_code(listed)
    assert "looks at" in " ".join(one.label for one in app.button)
    model = attnviz.load("gpt-classroom")
    effect = effect_of(model, encode(model, app.text_area[0].value), listed)  # type: ignore[arg-type]
    first = max(effect.candidates, key=lambda one: one.before)
    assert f"from {percent(first.before)} to {percent(first.after)}" in said(app)
    app.segmented_control(key="edit_before").set_value("last").run()
    assert not app.exception
    effect = effect_of(
        model,
        encode(model, app.text_area[0].value),
        listed,  # type: ignore[arg-type]
        before=listed[:2],  # type: ignore[arg-type]
    )
    first = max(effect.candidates, key=lambda one: one.before)
    assert percent(first.before) in said(app)


def test_the_map_of_heads_and_the_suggestion_are_measured(page: OpenApp) -> None:
    app = page()
    model = attnviz.load("gpt-classroom")
    ids = encode(model, app.text_area[0].value)
    table = np.array(
        [
            [effect_of(model, ids, [Edit("zero", Head("self", layer, head))]).divergence[-1]
             for head in range(8)]
            for layer in range(4)
        ]
    )  # fmt: skip
    (drawn,) = [one for one in maps(app, "head") if one["value"] == "KL without the head"]
    assert drawn["highest"] == pytest.approx(table.max(), rel=1e-4)
    layer, head = np.unravel_index(table.argmax(), table.shape)
    assert f"Of all heads, L{layer}·H{head}" in said(app)
    press(app, "suggestion:0")
    assert edits(app) == (Edit("zero", Head("self", int(layer), int(head))),)


def test_hand_painted_rows_have_to_sum_to_one(page: OpenApp) -> None:
    app = page(layer=1, head=5)
    app.segmented_control(key="edit_action").set_value("rows").run()
    app.selectbox(key="edit_rows").select("paint").run()
    sliders = [one for one in app.slider if one.key.startswith("paint:")]
    assert sum(one.value for one in sliders) == pytest.approx(1)
    sliders[0].set_value(1.0).run()
    press(app, "edit_add")
    assert "not to 1" in said(app)
    assert LIST not in app.session_state or edits(app) == ()
    press(app, "paint_sum")
    press(app, "edit_add")
    (edit,) = edits(app)
    assert isinstance(edit, Edit)
    assert edit.action == "rows"
    assert sum(edit.rows[0][1]) == pytest.approx(1)
    app = page(edits=code(app))
    assert edits(app) == (edit,)


def test_rows_of_another_text_need_equal_length_and_stay_out_of_the_link(page: OpenApp) -> None:
    app = page(layer=1, head=5)
    app.text_area[0].set_value("The cat sat on the mat.").run()
    app.segmented_control(key="edit_action").set_value("rows").run()
    app.selectbox(key="edit_rows").select("text").run()
    app.text_area(key="edit_other_text").set_value("A zebra").run()
    press(app, "edit_add")
    assert "give a text of equal length" in said(app)
    other = "The dog lay on the bed."
    app.text_area(key="edit_other_text").set_value(other).run()
    press(app, "edit_add")
    assert edits(app) == (RowsOfText(HEAD, other),)
    assert code(app) == "text_self_1_5"
    assert app.selectbox(key="edit_map").value == "L1·H5"
    model = attnviz.load("gpt-classroom")
    expected = attnviz.capture(model, other)["self"].weights(1, 5)
    after = maps(app)[-1]
    np.testing.assert_allclose(np.nan_to_num(after["weights"]), expected, atol=MODEL)
    app = page(edits="text_self_1_5~zero_self_1_5")
    assert "Links carry no text" in said(app)
    assert edits(app) == (OFF,)


def test_edits_that_do_not_fit_stay_in_the_list_with_a_sentence(page: OpenApp) -> None:
    app = page(edits="zero_self_9_0~hide_self_all_200~zero_self_1_5~<b>")
    assert not app.exception
    assert "has no head L9·H0" in said(app)
    assert "there is no token 200" in said(app)
    assert "is no edit and was left out" in said(app)
    assert len(edits(app)) == 3
    press(app, "edit_remove:0")
    press(app, "edit_remove:0")
    assert edits(app) == (OFF,)
    app.text_area[0].set_value("The cat " * 300).run()  # longer than the model
    assert not app.exception
    assert edits(app) == (OFF,)


def test_a_row_on_hidden_tokens_only_is_not_added(page: OpenApp) -> None:
    app = page(edits="hide_self_all_0", layer=1, head=5)
    app.segmented_control(key="edit_action").set_value("rows").run()
    app.selectbox(key="edit_rows").select("first").run()
    press(app, "edit_add")
    assert "hidden tokens only" in said(app)
    assert len(edits(app)) == 1


def test_a_list_is_bounded(page: OpenApp) -> None:
    app = page(edits="~".join(["zero_self_1_5"] * (MOST_EDITS + 2)))
    assert len(edits(app)) == MOST_EDITS
    press(app, "edit_add")
    assert f"at most {MOST_EDITS} edits" in said(app)


def test_bert_masks_a_token_and_fills_it(page: OpenApp) -> None:
    app = page(model="bert-classroom")
    app.segmented_control(key="edit_action").set_value("mask").run()
    app.selectbox(key="edit_mask").select(4).run()
    press(app, "edit_add")
    assert edits(app) == (MaskedToken(4),)
    assert app.selectbox(key="edit_position").value == 4
    model = attnviz.load("bert-classroom")
    ids = encode(model, app.text_area[0].value, pair=app.text_input[0].value)
    effect = effect_of(model, ids, [], masked=[4], position=4)
    first = max(effect.candidates, key=lambda one: one.before)
    assert percent(first.after) in said(app)
    assert f"Mean loss {nats(effect.before[4])} → {nats(effect.after[4])} nats" in said(app)
    app = page(model="gpt-classroom", edits="mask_4")
    assert "has no mask token" in said(app)


@pytest.mark.parametrize("kind", ["encoder", "decoder", "cross"])
def test_a_t5_is_edited_in_every_kind(kind: str, page: OpenApp) -> None:
    app = page(model="t5-classroom", kind=kind, layer=1, head=3)
    assert "Try one of these" in said(app)
    press(app, "edit_add")
    head = Head(kind, 1, 3)  # type: ignore[arg-type]
    assert edits(app) == (Edit("zero", head),)
    app.segmented_control(key="edit_action").set_value("hide").run()
    app.segmented_control(key="edit_from").set_value("all").run()
    press(app, "edit_add")
    listed = edits(app)
    assert listed[1] == Edit("hide", token=listed[1].token, kind=kind)  # type: ignore[union-attr,arg-type]
    assert f"all {kind} heads" in " ".join(one.label for one in app.button)


def test_every_head_of_a_large_model_is_measured_in_the_background(
    page: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attnviz.ui.server.run_places.AT_ONCE", 0)
    app = page(model="t5-classroom")
    assert "Of all heads" not in said(app)
    assert "Known as" in said(app)
    press(app, "start:Measure every head")
    until(lambda: long_jobs().unfinished == 0)
    app.run()
    assert not app.exception
    assert "Of all heads" in said(app)


def test_models_without_predictions_and_long_texts_get_a_sentence(
    page: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attnviz.ui.edit.edit_page.EDITED_TOKENS", 10)
    app = page()
    assert "edits texts of at most 10 tokens, and this one has 25" in said(app)
    app.text_area[0].set_value(" ").run()
    assert "type at least one word" in said(app)
    assert not app.exception


def test_explore_opens_the_page_with_the_head_off(open_app: OpenApp) -> None:
    app = open_app(layer=1, head=5)
    app.button(key="what_if").click().run()
    assert not app.exception
    assert edits(app) == (OFF,)
    assert "What if…?" in app.header[0].value
    assert code(app) == "zero_self_1_5"


def test_visitors_see_their_edits_only(page: OpenApp) -> None:
    """Runs with edits and without, at the same time on one model, equal runs alone."""
    app = page(edits="first_self_1_5")
    request = app.session_state["request"]
    model = attnviz.load("gpt-classroom")
    ids = encode(model, request.text)
    lists: list[tuple[Edit, ...]] = [(), (OFF,), (Edit("first", HEAD),), (Edit("scale", HEAD, 3),)]
    alone = [effect_of(model, ids, one) for one in lists]
    for shelf in (edit_runs._CAPTURES, edit_runs._EFFECTS):
        shelf.clear()
    seen: dict[int, np.ndarray] = {}

    def visit(number: int) -> None:
        for position in (24, 23, 22):
            effect = edit_runs.edit_effect(request, lists[number % 4], position)
        seen[number] = effect.after

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 12
    for number, after in seen.items():
        np.testing.assert_allclose(after, alone[number % 4].after, atol=1e-5, equal_nan=True)
    whole = edit_runs.captured(request)["self"].weights(1, 5)
    assert whole[-1, 0] < 0.9  # a capture of other pages has no edits


@pytest.mark.parametrize(
    "code_of_nothing",
    [
        "zero",
        "zero_self_1",
        "zero_self_1_5_7",
        "hide_self_all_3_4",
        "zero_selfish_1_5",
        "other_self_1_5",
        "scale_self_1_5_nan",
        "scale_self_1_5_1e9",
        "scale_self_1_5_99",
        "hide_self_1_5_-3",
        "rows_self_1_5_3_0-0.2",
        "rows_self_1_5_3",
        "rows_self_1_5_3_0-inf",
        "mask_x",
        "mask_٣",
        "~~",
        "zero_self_1_5" * 2000,
    ],
)
def test_codes_that_are_no_edit_are_left_out(code_of_nothing: str) -> None:
    linked = from_code(code_of_nothing)
    assert linked.edits == ()
    assert linked.unreadable >= 1


def test_codes_carry_every_edit_and_no_text() -> None:
    listed: tuple[ListedEdit, ...] = (
        *(Edit(action, HEAD) for action in ("zero", "mean", "uniform", "previous", "first")),
        Edit("scale", Head("cross", 0, 1), factor=-1.5),
        Edit("hide", Head("encoder", 0, 1), token=3),
        Edit("hide", token=3, kind="cross"),
        paint(HEAD, {8: (0.25, 0.0, 0.5, 0.25)}),
        MaskedToken(7),
    )
    assert from_code(to_code(listed)).edits == listed
    secret = to_code([RowsOfText(HEAD, "a secret text")])
    assert "secret" not in secret
    assert from_code(secret) == ((), 0, 1)


def test_shares_sum_to_exactly_one() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        numbers = rng.random(rng.integers(1, 9)).tolist()
        percent = shares(numbers)
        assert round(100 * sum(percent)) == 100
        assert all(one >= 0 for one in percent)
        total = sum(numbers)
        rest = [i for i in range(len(numbers)) if i != int(np.argmax(numbers))]
        assert all(abs(percent[i] - numbers[i] / total) <= 0.005 + 1e-9 for i in rest)
    assert shares([0.0, 0.0]) == [0.0, 0.0]
