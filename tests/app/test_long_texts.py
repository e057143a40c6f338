"""Texts of more tokens than a screen has room for: nothing fails, nothing is left out silently."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest
from transformers import GPT2Config, GPT2LMHeadModel

from attnviz.ui.session import model_cache
from tests.app.conftest import OpenApp, maps, said
from tests.vocabularies import vocabulary
from tests.zoo import VOCABULARIES, shake

WORDS = "the cat sat on the mat and the dog saw a man who walked down the road"
LONG = " ".join([WORDS] * 28)
EXPLORE, LINES = "pages/explore/heads.py", "pages/explore/lines.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random GPT-2 with room for 1,024 tokens."""
    folder = tmp_path_factory.mktemp("models") / "long"
    tokenizer = vocabulary(VOCABULARIES["decoder"])
    torch.manual_seed(0)
    network = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            **{"n_embd": 16, "n_head": 2, "n_layer": 2, "n_positions": 1024},
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    shake(network)
    network.save_pretrained(folder)
    tokenizer.model_max_length = 1024
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def open_long(open_app: OpenApp, folder: Path, monkeypatch: pytest.MonkeyPatch) -> OpenApp:
    folders = os.pathsep.join([str(folder.parent), "models"])
    monkeypatch.setenv("ATTNVIZ_MODEL_FOLDERS", folders)

    def open_(page: str | None = None, text: str = LONG, **link: object):
        return open_app(page, model=str(folder), text=text, **link)

    return open_


def test_a_long_text_opens_whole(open_long: OpenApp) -> None:
    app = open_long(layer=1, head=1)
    assert not app.exception
    assert not app.error
    assert not app.warning  # nothing was cut
    (shown,) = maps(app)
    assert shown["grid"]["window"] == [0, *shown["shape"][:1], 0, *shown["shape"][1:]]
    assert shown["grid"]["encoding"] == "u2"
    assert "the strip shows the surroundings" in said(app)


def test_what_is_beyond_the_model_is_cut_and_said(open_long: OpenApp) -> None:
    app = open_long(text=" ".join([LONG] * 3))
    assert not app.exception
    assert "were left out" in app.warning[0].value


def test_a_token_is_chosen_by_its_position(open_long: OpenApp) -> None:
    app = open_long()
    app.number_input(key="token_position").set_value(600).run()
    assert not app.exception
    assert "looks at" in said(app)
    shown = [one.value for one in app.caption if "surroundings" in one.value]
    assert "Tokens 448 to 703" in shown[0] or "Tokens 512" in shown[0]


def test_a_token_of_a_longer_text_is_forgotten_by_a_shorter_one(open_long: OpenApp) -> None:
    app = open_long()
    app.number_input(key="token_position").set_value(700).run()
    app.text_area[0].set_value("the cat sat on the mat").run()
    assert not app.exception
    assert not app.error


def test_rows_are_an_overview_and_the_part_around_the_token(open_long: OpenApp) -> None:
    app = open_long()
    app.session_state["part"] = "Row by row"
    app.number_input(key="token_position").set_value(400).run()
    assert not app.exception
    drawn = [one.proto.spec for one in app.get("plotly_chart")]
    assert len(drawn) == 2  # the whole text in bins, and a bar per token of a part
    bars = next(json.loads(one) for one in drawn if '"type":"bar"' in one)
    places = [int(name.rsplit("(", 1)[1][:-1]) for name in bars["data"][0]["x"]]
    assert places[0] <= 400 <= places[-1]
    assert len(places) <= 128
    assert f"Below tokens {places[0]} to {places[-1]}" in said(app)


@pytest.mark.parametrize("part", ["Queries and keys", "Row by row", "Numbers"])
def test_every_part_opens(open_long: OpenApp, part: str) -> None:
    app = open_long()
    app.session_state["part"] = part
    app.run()
    assert not app.exception
    assert not app.error
    assert ("around the chosen token" in said(app)) == (part == "Queries and keys")


@pytest.mark.parametrize("scale", ["log", "hide_sinks"])
def test_every_scale_of_the_long_map_opens(open_long: OpenApp, scale: str) -> None:
    app = open_long()
    app.session_state["scale"] = scale
    app.session_state["pool"] = "mean"
    app.run()
    assert not app.exception
    assert ("sink" in said(app)) == (scale == "hide_sinks")


def test_the_proof_says_on_how_much_it_was_made(open_long: OpenApp, folder: Path) -> None:
    open_long()
    proof, first = model_cache.proved(model_cache.Request(str(folder), LONG))
    assert first == model_cache.PROVED_TOKENS
    assert proof.holds
    proof, first = model_cache.proved(model_cache.Request(str(folder), WORDS))
    assert first is None


def test_lines_are_drawn_of_a_part_and_say_so(open_long: OpenApp) -> None:
    app = open_long(LINES)
    assert not app.exception
    assert not app.error
    assert "tokens at a time" in app.info[0].value


def test_long_texts_are_compared_row_by_row(open_long: OpenApp) -> None:
    app = open_long("pages/compare/pair.py")
    assert not app.exception
    assert not app.error
    assert "cell by cell, for texts of up to" in app.info[0].value
    assert "Jensen-Shannon divergence" in said(app)


def test_a_long_text_is_not_repeated(open_long: OpenApp) -> None:
    app = open_long("pages/explore/induction.py", text=" ".join([WORDS] * 10))
    app.session_state["repeat"] = "The text in the side bar"
    app.run()
    assert not app.exception
    assert "shorten it" in app.error[0].value


def test_a_long_read_shows_how_far_it_is() -> None:
    def script() -> None:
        import itertools

        from attnviz.ui.session.progress import reading_bar

        seconds = itertools.count(0, 30)  # the clock's answer: 0, then 30 s more at every layer
        report = reading_bar(clock=lambda: next(seconds))
        report(1, 4)

    app = AppTest.from_function(script, default_timeout=60).run()
    (bar,) = app.get("progress")
    assert (bar.value, bar.proto.text) == (25, "Layer 1 of 4, about 2 min left")


def test_a_short_read_shows_no_bar_and_a_long_one_takes_it_away() -> None:
    def script() -> None:
        import itertools

        from attnviz.ui.session.progress import reading_bar

        quick = reading_bar(clock=lambda: 0.0)
        quick(1, 4)
        seconds = itertools.count(0, 30)
        slow = reading_bar(clock=lambda: next(seconds))
        for done in range(1, 5):
            slow(done, 4)

    app = AppTest.from_function(script, default_timeout=60).run()
    assert not app.exception
    assert not app.get("progress")
