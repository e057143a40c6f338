"""Explore: what a person sees and sets without touching a picture."""

from __future__ import annotations

import gc
import json

import numpy as np
import pytest
import torch

import attnviz
from attnviz import metrics
from attnviz.models import CLASSROOM
from attnviz.models.inputs.text_encoding import encode
from attnviz.types import Head
from attnviz.ui.session import model_cache
from attnviz.ui.session.example_texts import EXAMPLES
from tests.app.conftest import OpenApp, maps, said
from tests.bounds import SAME

NAMES = [model.name for model in CLASSROOM]


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_model_opens_on_a_finished_analysis(open_app: OpenApp, name: str) -> None:
    app = open_app(model=name)
    assert not app.exception
    assert not app.error
    assert app.text_area[0].value
    assert "This head" in said(app)


def test_first_screen_needs_no_choice(open_app: OpenApp) -> None:
    app = open_app()
    assert not app.exception
    assert app.selectbox(key="model").value == NAMES[0]
    assert not app.get("plotly_chart")  # its JavaScript would come before the first map
    assert len(maps(app)) == 1  # the chosen head
    (heads,) = maps(app, "head")
    assert heads["shape"] == [4, 8]
    assert heads["selects"] == "cell"


def test_the_map_is_sent_whole_with_every_weight_and_score(open_app: OpenApp) -> None:
    app = open_app(model="gpt-classroom", layer=2, head=5)
    (shown,) = maps(app)
    stack = attnviz.capture(attnviz.load("gpt-classroom"), app.text_area[0].value)["self"]
    visible = np.isfinite(stack.scores(2, 5))
    assert (np.isnan(shown["weights"]) == ~visible).all()
    np.testing.assert_allclose(shown["weights"][visible], stack.weights(2, 5)[visible], atol=SAME)
    np.testing.assert_allclose(shown["scores"][visible], stack.scores(2, 5)[visible], atol=1e-4)
    assert shown["grid"]["columnLabels"] == list(stack.key_tokens.labels)
    assert shown["highest"] == 1  # colours mean the same in every map


def test_sinks_are_left_out_of_the_colours_and_named(open_app: OpenApp) -> None:
    app = open_app(model="gpt-classroom", layer=1, head=0)
    app.session_state["scale"] = "hide_sinks"
    app.run()
    (shown,) = maps(app)
    assert shown["aside"] == [0]
    assert shown["highest"] == pytest.approx(np.nanmax(shown["weights"][:, 1:]))
    assert "of all weight; the column is grey." in said(app)


def test_link_opens_the_view_it_names(open_app: OpenApp) -> None:
    app = open_app(model="gpt-classroom", layer=2, head=5, metric="self")
    assert app.selectbox(key="layer").value == 2
    assert app.selectbox(key="head").value == 5
    assert app.selectbox(key="metric").value == "self"
    assert "L2·H5" in said(app)


def test_view_is_written_into_the_link(open_app: OpenApp) -> None:
    app = open_app(model="t5-classroom", kind="decoder")
    app.selectbox(key="layer").select(1)
    app.selectbox(key="head").select(7).run()
    link = {name: app.query_params[name] for name in ("model", "kind", "layer", "head")}
    assert {name: [value] if isinstance(value, str) else value for name, value in link.items()} == {
        "model": ["t5-classroom"],
        "kind": ["decoder"],
        "layer": ["1"],
        "head": ["7"],
    }


def test_a_link_beyond_the_model_opens_a_head_that_exists(open_app: OpenApp) -> None:
    app = open_app(model="gpt-classroom", layer=99, head="x", metric="nonsense")
    assert not app.exception
    assert app.selectbox(key="layer").value < 4


def test_text_stays_out_of_the_link_until_asked_for(open_app: OpenApp) -> None:
    app = open_app()
    app.text_area[0].set_value("a very private sentence").run()
    assert "private" not in str(dict(app.query_params))
    assert not app.code
    app.toggle(key="share_text").set_value(True).run()
    assert "a+very+private+sentence" in app.code[0].value
    assert "private" not in str(dict(app.query_params))


def test_link_with_text_opens_that_text_and_drops_it_from_the_address(open_app: OpenApp) -> None:
    app = open_app(model="gpt-classroom", text="Look at this, look at this")
    assert app.text_area[0].value == "Look at this, look at this"
    assert "text" not in app.query_params


def test_texts_survive_a_change_of_model_and_page(open_app: OpenApp) -> None:
    app = open_app()
    app.text_area[0].set_value("my own text, my own text").run()
    app.selectbox(key="model").select("bert-classroom").run()
    assert app.text_area[0].value != "my own text, my own text"
    app.selectbox(key="model").select("gpt-classroom").run()
    assert app.text_area[0].value == "my own text, my own text"
    app.switch_page("pages/explore/induction.py").run()
    app.switch_page("pages/explore/heads.py").run()
    assert app.text_area[0].value == "my own text, my own text"


def test_menu_offers_only_metrics_that_exist_for_the_text(open_app: OpenApp) -> None:
    app = open_app(model="gpt-classroom")
    options = app.selectbox(key="metric").options
    assert "Next token" not in options  # a GPT does not look ahead
    assert set(options) <= {metrics.describe(name).label for name in metrics.names()}


def test_a_bert_shows_what_it_expects_in_place_of_its_mask(open_app: OpenApp) -> None:
    app = open_app(model="bert-classroom", text="The cat [MASK] on the mat.")
    assert "In place of “[MASK]”" in said(app)
    app = open_app(model="bert-classroom", text="The cat sat on the mat.")
    assert "In place of “the”" in said(app)  # not of [SEP], where a prediction means nothing
    app.session_state["token"] = 2
    app.run()
    assert "In place of “cat”" in said(app)


@pytest.mark.parametrize("part", ["Weights", "Queries and keys", "Row by row", "Numbers"])
@pytest.mark.parametrize("name", NAMES)
def test_every_part_of_a_head_opens(open_app: OpenApp, name: str, part: str) -> None:
    app = open_app(model=name)
    app.get("button_group")  # the parts are drawn as a button group
    app.session_state["part"] = part
    app.run()
    assert not app.exception
    assert not app.error


def test_t5_shows_three_kinds_of_attention_and_what_it_wrote(open_app: OpenApp) -> None:
    app = open_app(model="t5-classroom")
    assert "The model wrote" in said(app)
    for kind in ("encoder", "decoder", "cross"):
        app.session_state["kind"] = kind
        app.run()
        assert not app.exception
        assert app.header[0].value.startswith("L")  # the kind is in the buttons beside it
        (shown,) = maps(app)
        assert str(shown["alt"]).startswith(f"{kind} L")


def test_a_given_target_is_read_instead_of_written(open_app: OpenApp) -> None:
    app = open_app(model="t5-classroom")
    app.text_input(key="target:encoder-decoder").set_value("La maison est rouge.").run()
    assert "The model was given" in said(app)
    assert "rouge" in said(app)


def test_an_example_is_lit_only_while_its_text_is_there(open_app: OpenApp) -> None:
    app = open_app(model="gpt-classroom")
    assert app.session_state["example:decoder"].title == "A repeated phrase"
    app.text_area[0].set_value("something else").run()
    assert app.session_state["example:decoder"] is None
    app.session_state["example:decoder"] = EXAMPLES["decoder"][2]
    app.text_area[0].set_value(EXAMPLES["decoder"][2].text).run()
    assert app.session_state["example:decoder"].title == "Counting"


def test_a_hybrid_says_which_layers_have_its_attention(
    open_app: OpenApp, zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = zoo("jamba")
    monkeypatch.setenv("ATTNVIZ_MODEL_FOLDERS", str(pair.folder.parent))
    numbers = pair.model.info.layers["self"]
    assert numbers != tuple(range(len(numbers)))
    app = open_app(model=str(pair.folder), text="the cat sat on the mat")
    assert not app.exception
    assert f"in the model's layer {numbers[0]}" in said(app).replace("layers", "layer")
    assert f"Layer 0 (the model's layer {numbers[0]})" in app.selectbox(key="layer").options
    others = [str(layer) for layer in pair.model.info.other_layers]
    assert others
    assert f"Without attention, and not in the map: layer{'s' * (len(others) > 1)}" in said(app)
    assert f"{', '.join(others)} (state space (Mamba))" in said(app)
    plain = open_app(model="gpt-classroom")
    assert "in the model's layer" not in said(plain)
    assert "Without attention" not in said(plain)
    assert plain.selectbox(key="layer").options == [f"Layer {layer}" for layer in range(4)]


def test_the_proof_is_about_the_capture_on_the_page(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    run = model_cache._run
    monkeypatch.setattr(model_cache, "_run", lambda *given: runs.append(1) or run(*given))
    request = model_cache.Request("gpt-classroom", "the proof reads this text once")
    proof, first = model_cache.proved(request)
    assert proof.holds
    assert first is None
    assert len(runs) == 1
    model_cache._SHIPPED.clear()  # the capture outlives its model: another is loaded for the proof
    gc.collect()
    assert model_cache.proved(request)[0] == proof
    assert len(runs) == 1


def test_a_long_text_is_proved_by_its_first_tokens(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_cache, "PROVED_TOKENS", 16)
    proof, first = model_cache.proved(model_cache.Request("gpt-classroom", "one two three " * 20))
    assert first == 16
    assert proof.holds


def test_the_bars_without_a_head_are_those_of_a_removal(open_app: OpenApp) -> None:
    app = open_app(model="gpt-classroom", layer=1, head=0, text="The old king sat. The old king")
    model = attnviz.load("gpt-classroom")
    app.toggle(key="without_head").set_value(True).run()
    assert not app.exception
    (bars,) = [
        json.loads(one.proto.json)
        for one in app.get("bidi_component")
        if one.proto.component_name == "attnviz.token_bars"
    ]
    assert bars["states"] == ["all heads", "without L1·H0"]
    encoded = encode(model, "The old king sat. The old king")
    with attnviz.edited(model, [attnviz.Edit("zero", Head("self", 1, 0))]), torch.inference_mode():
        logits = model.network(input_ids=torch.tensor([encoded.ids])).logits[0, -1]
    without = logits.softmax(-1).numpy()
    shown = float(bars["rows"][0]["exact"][1].removesuffix("%")) / 100
    np.testing.assert_allclose(shown, without.max(), atol=6e-5)  # two decimals of a percentage
