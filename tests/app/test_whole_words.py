"""Tokens or words: the choice, the link, the map, the strip, the sentence and the download."""

from __future__ import annotations

import numpy as np
import pytest

import attnviz
from attnviz.types import Head
from attnviz.ui.session import model_cache
from attnviz.ui.session.model_cache import Request
from attnviz.views.lines import bertviz_page
from tests.app.conftest import OpenApp, maps, said
from tests.bounds import SAME

TEXT = "The unbelievable nurse was extraordinarily helpful."
WORDS = ["The", "unbelievable", "nurse", "was", "extraordinarily", "helpful", "."]


def merged(layer: int, head: int) -> attnviz.WordWeights:
    model = attnviz.load("gpt-classroom")
    return attnviz.word_weights(attnviz.capture(model, TEXT), "self", layer, head)


def test_a_link_with_words_shows_the_map_of_words(open_app: OpenApp) -> None:
    app = open_app(model="gpt-classroom", text=TEXT, layer=2, head=5, units="words")
    assert not app.exception
    assert app.query_params["units"] in ("words", ["words"])
    (shown,) = maps(app)
    wanted = merged(2, 5)
    assert shown["grid"]["columnLabels"][1:] == WORDS
    assert shown["value"] == "weight of words"  # also in the saved picture
    assert shown["filename"].endswith("-words")
    visible = np.tri(len(wanted.weights), dtype=bool)
    assert (np.isnan(shown["rounded"]) == ~visible).all()
    np.testing.assert_allclose(shown["rounded"][visible], wanted.weights[visible], atol=5e-5)
    assert "Scores are not defined for words" in said(app)


def test_tokens_are_shown_at_first(open_app: OpenApp) -> None:
    app = open_app(model="gpt-classroom", text=TEXT)
    (shown,) = maps(app)
    assert shown["shape"][0] > len(WORDS) + 1
    assert shown["value"] == "weight" and "scores" in shown


def test_the_choice_holds_on_the_next_page(open_app: OpenApp) -> None:
    app = open_app(model="gpt-classroom", text=TEXT)
    app.session_state["units"] = "words"
    app.run()
    app.switch_page("pages/compare/pair.py").run()
    assert not app.exception
    shapes = {tuple(one["shape"]) for one in maps(app)}
    assert shapes == {(8, 8)}  # both maps and the difference, the begin token included


def test_a_chosen_token_lights_its_word(open_app: OpenApp) -> None:
    app = open_app(model="gpt-classroom", text=TEXT, layer=0, head=7, units="words")
    edges = merged(0, 7).queries.edges
    app.session_state["token"] = int(edges[2]) + 1  # the second piece of "unbelievable"
    app.run()
    (shown,) = maps(app)
    assert shown["selected"][0] == 2
    assert "“unbelievable” looks at" in said(app)
    looks = merged(0, 7).weights[2]
    best = int(looks.argmax())
    assert f"“{['<|endoftext|>', *WORDS][best]}” ({looks[best]:.2f})" in said(app)


def test_the_difference_of_two_maps_of_words(open_app: OpenApp) -> None:
    app = open_app(
        "pages/compare/pair.py", model="gpt-classroom", text=TEXT, units="words",
        a_layer=0, a_head=7, b_layer=1, b_head=0,
    )  # fmt: skip
    assert not app.exception
    (shown,) = maps(app, signed=True)
    wanted = merged(1, 0).weights - merged(0, 7).weights
    seen = np.tri(len(wanted), dtype=bool)
    np.testing.assert_allclose(shown["rounded"][seen], wanted[seen], atol=1e-4)


def test_lines_between_words(open_app: OpenApp, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(
        "attnviz.ui.explore.lines_page.bertviz_html",
        lambda parts, **rest: drawn.append(parts[0]) or bertviz_page.bertviz_html(parts, **rest),
    )
    app = open_app("pages/explore/lines.py", model="gpt-classroom", text=TEXT, units="words")
    assert not app.exception
    assert list(drawn[0].query_tokens.labels[1:]) == WORDS
    np.testing.assert_allclose(drawn[0].weights[1, 3], merged(1, 3).weights, atol=SAME)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("bert-classroom", "The cat sat. 我喜欢 unbelievably"),
        ("t5-classroom", "The unbelievable house."),
        ("llama-classroom", "العربية 👩‍👧\n\tx = 1"),
        ("gpt-classroom", "a"),
    ],
)
def test_every_kind_of_model_and_text_opens_by_words(
    open_app: OpenApp, model: str, text: str
) -> None:
    app = open_app(model=model, text=text, units="words")
    assert not app.exception and not app.error


def test_a_long_text_by_words(open_app: OpenApp) -> None:
    text = "The unbelievable nurse was extraordinarily helpful, and extraordinarily kind. " * 9
    app = open_app(model="gpt-classroom", text=text, units="words")
    assert not app.exception
    (shown,) = maps(app)
    capture = model_cache.captured(Request("gpt-classroom", app.text_area[0].value))
    head = Head("self", app.session_state["layer"], app.session_state["head"])
    wanted = attnviz.word_weights(capture, "self", head.layer, head.head).weights
    assert shown["shape"] == list(wanted.shape)
    assert max(capture["self"].shape[2:]) > max(wanted.shape)
