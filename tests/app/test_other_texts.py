"""View *Other texts* of Explore: the texts in which a head is strongest."""

from __future__ import annotations

import threading
from html import unescape
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import attnviz
from attnviz import metrics
from attnviz.doctor.strongest_texts.row_measures import measure_description, measures_of_kind
from attnviz.experiments.text_sets import bundled
from attnviz.types import Head
from attnviz.ui.jobs.long_jobs import long_jobs
from attnviz.ui.strongest import other_texts
from attnviz.ui.strongest.other_texts import first_measure
from attnviz.views.style.kind_colors import kind_colors
from tests.app.conftest import OpenApp, endless, said, until

START = "start:Search texts"
TEXTS = (
    "The red dog saw the blue bird. The red dog ran.\n"
    "Anna gave the ball to Ben. Then Ben gave the ball to Clara.\n"
    "A\n"
    "One two three four. One two three\n"
)


def view(app: AppTest) -> AppTest:
    """Open the view."""
    app.segmented_control(key="part").select("Other texts").run()
    assert not app.exception
    return app


def typed(app: AppTest, texts: str, family: str = "decoder") -> AppTest:
    """Give the view texts to search."""
    app.segmented_control(key="diagnose_source").select("Typed here").run()
    return app.text_area(key=f"diagnose_typed:{family}").set_value(texts).run()


def searched(app: AppTest) -> AppTest:
    """Press the button, and wait for the result."""
    app.button(key=START).click().run()
    until(lambda: all(job.over for job in list(long_jobs()._jobs.values())))
    app.run()
    assert not app.exception
    return app


def excerpts(app: AppTest) -> list[str]:
    """Return the HTML of the excerpts."""
    bodies = [one.proto.body for one in app.get("html")]
    return [body for body in bodies if body.startswith('<div class="attnviz-excerpt"')]


def test_places_are_listed_and_another_head_needs_no_search(open_app: OpenApp) -> None:
    app = searched(typed(view(open_app(layer=1, head=3)), TEXTS))
    texts = [line for line in TEXTS.splitlines() if len(line) > 1]
    words = said(app)
    assert len(excerpts(app)) == 3
    assert "1 of 4 texts has no row in which Induction is defined." in words
    model = attnviz.load("gpt-classroom")
    best = []
    for text in texts:
        rows = metrics.per_row("induction", attnviz.capture(model, text)["self"])[1, 3]
        best.append(max(value for value in rows if value == value))
    assert f"Induction of L1·H3 reaches {max(best):.3f}" in words
    for value in best:
        assert f"{value:.3f}" in words
    first = excerpts(app)[0]
    assert "<small>query</small>" in first and "<small>key</small>" in first
    assert kind_colors("light")["query"] in first and kind_colors("dark")["key"] in first
    app.selectbox(key="head").select(5).run()
    assert "Induction of L1·H5 reaches" in said(app)
    assert START not in [one.key for one in app.button]


def test_the_search_begins_with_the_pattern_that_colours_the_heads(open_app: OpenApp) -> None:
    assert first_measure(Head("self", 0, 0), "induction") == "induction"
    assert first_measure(Head("self", 0, 0), "entropy") == "elsewhere"
    assert first_measure(Head("cross", 0, 0), "induction") == "elsewhere"
    app = view(open_app(metric="previous_token"))
    assert app.selectbox(key="strongest:same").value == "previous_token"
    assert app.selectbox(key="strongest:same").options == [
        measure_description(name).label + (" (lowest)" if "entropy" in name else "")
        for name in measures_of_kind("self")
    ]


def test_a_place_opens_its_text_at_head_and_token(open_app: OpenApp) -> None:
    app = searched(typed(view(open_app(layer=1, head=3)), TEXTS))
    app.toggle(key="begin").set_value(False).run()
    title = next(line for line in said(app).splitlines() if line.startswith("1. "))
    number = int(title.split("text ")[1].split()[0])
    query = int(title.split("(")[1].split(")")[0])
    app.button(key="strongest:1").click().run()
    assert not app.exception
    assert app.text_area(key="text:decoder").value == TEXTS.splitlines()[number - 1]
    assert app.session_state["token"] == query
    assert app.toggle(key="begin").value is True  # positions count the begin token
    assert app.segmented_control(key="part").value == "Weights"
    assert app.selectbox(key="layer").value == 1 and app.selectbox(key="head").value == 3
    assert not any(
        "dog" in str(value) or "Ben" in str(value) for value in app.query_params.values()
    )
    view(app)
    assert len(excerpts(app)) == 3  # the result is still there


def test_a_place_of_cross_attention_has_two_lines_and_opens_with_its_target(
    open_app: OpenApp,
) -> None:
    app = view(open_app(model="t5-classroom", kind="cross", layer=0, head=1))
    typed(app, "The house is blue.\tLa maison est bleue.\nHello.\n", "encoder-decoder")
    searched(app)
    assert {body.count("attnviz-excerpt") for body in excerpts(app)} == {2}
    titles = [line for line in said(app).splitlines() if line[:2] in ("1.", "2.")]
    rank = next(at for at, line in enumerate(titles, 1) if "text 1 " in line)
    app.button(key=f"strongest:{rank}").click().run()
    assert app.text_area(key="text:encoder-decoder").value == "The house is blue."
    assert app.text_input(key="target:encoder-decoder").value == "La maison est bleue."
    assert app.session_state["kind"] == "cross"


@pytest.mark.parametrize("model", ["bert-classroom", "llama-classroom", "hybrid-classroom"])
def test_other_models_search_the_texts_that_come_with_attnviz(
    open_app: OpenApp, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = view(open_app(model=model))
    family = attnviz.load(model).info.family
    monkeypatch.setattr(
        "attnviz.ui.diagnose.text_choice.bundled",
        lambda name: type(bundled(name))("bundled", bundled(name).texts[:3]),
    )
    app.run()
    searched(app)
    assert len(excerpts(app)) == 3
    assert bundled(family).texts[0].source


def test_hostile_texts_are_escaped(open_app: OpenApp) -> None:
    hostile = '<img src=x onerror="alert(1)"> "><script>x</script> **b** :smile: <b>x</b>'
    app = searched(typed(view(open_app(layer=1, head=3)), f"{hostile} {hostile}\n{TEXTS}"))
    shown = "".join(excerpts(app))
    assert "<img" not in shown and "<script" not in shown and "<b>" not in shown
    assert "&lt;" in shown and 'onerror="' not in shown
    text = unescape(shown.replace("<small>query</small>", ""))
    assert "<" in text
    assert not any("onerror" in str(value) for value in app.query_params.values())


def test_cancel_stops_the_search(open_app: OpenApp, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()
    monkeypatch.setattr(other_texts, "strongest", endless("reading the texts", stopped))
    app = view(open_app(layer=1, head=3))
    app.button(key=START).click().run()
    app.run()
    next(one for one in app.button if one.label == "Cancel").click().run()
    assert stopped.wait(20)
    app.run()
    assert START in [one.key for one in app.button] and not app.exception


def test_a_head_with_nan_has_a_sentence(open_app: OpenApp, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = other_texts.strongest

    def broken(*arguments: Any, **options: Any) -> Any:
        result = whole(*arguments, **options)
        result.not_finite["self"][1, 3] = len(result.texts.texts)
        result.ranked["induction"][Head("self", 1, 3)] = ()
        return result

    monkeypatch.setattr(other_texts, "strongest", broken)
    app = searched(typed(view(open_app(layer=1, head=3)), TEXTS))
    assert "This head computes NaN or infinity on every text: there it has no place." in said(app)
    assert not excerpts(app)
