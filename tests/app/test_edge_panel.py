"""View *What flows* of Explore: measures of the edges of a head."""

from __future__ import annotations

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import attnviz
from attnviz.captures.forward_pass import encode
from attnviz.experiments.edges.edge_removal import remove_edges
from attnviz.experiments.edges.value_zeroing import value_zeroing
from attnviz.types import Head
from attnviz.ui.explore.edge_numbers import EdgeNumbers, quick_edges, slow_edges
from attnviz.ui.explore.edge_panel import MEASURES, agreement_table
from attnviz.ui.jobs.long_jobs import long_jobs
from attnviz.ui.session.model_cache import Request
from attnviz.written_numbers import nats
from tests.app.conftest import OpenApp, maps, said, until

TEXT = "The red dog saw the blue bird. The red"


def edge_numbers(request: Request, head: Head, row: int) -> EdgeNumbers:
    """Return all measures of a short text."""
    slow = slow_edges(request, head, row)
    assert slow is not None
    return quick_edges(request, head, row).with_slow(slow)


def flows(app: AppTest) -> AppTest:
    """Open the view."""
    app.segmented_control(key="part").select("What flows").run()
    assert not app.exception
    return app


def sentence(app: AppTest) -> str:
    """Return the sentence on the row's largest weight."""
    return next(line for line in said(app).splitlines() if line.startswith("Row "))


def test_every_measure_and_the_removal_of_the_largest_weight(open_app: OpenApp) -> None:
    app = open_app(layer=1, head=3)
    app.text_area[0].set_value(TEXT).run()
    flows(app)
    model = attnviz.load("gpt-classroom")
    text = encode(model, TEXT)
    last = len(text.ids) - 1
    stack = attnviz.capture(model, TEXT)["self"]
    weights = stack.weights(1, 3)
    np.testing.assert_allclose(np.nan_to_num(table_of(app)), weights, atol=1e-4)
    key = int(weights[last].argmax())
    removed = remove_edges(model, text, Head("self", 1, 3), [(last, key)])
    assert f"{weights[last, key]:.2f}, is on “dog” ({key})" in sentence(app)
    assert f"{nats(float(removed.divergence[0]))} nats" in sentence(app)
    assert "Weight is not explanation" in said(app)
    for name in MEASURES:
        app.selectbox(key="edge_measure").select(name).run()
        assert not app.exception
        assert "could not" not in said(app)


def table_of(app: AppTest) -> np.ndarray:
    """Return the numbers of the edge map; it has as many rows as tokens."""
    header = next(one for one in maps(app) if one["filename"].startswith("attnviz-weight-"))  # type: ignore[attr-defined]
    assert header["grid"] is not None
    request = Request("gpt-classroom", TEXT)
    return edge_numbers(request, Head("self", 1, 3), header["shape"][0] - 1).tables["weight"]  # type: ignore[index]


def test_agreement_is_one_with_itself_and_named_for_every_measure(open_app: OpenApp) -> None:
    open_app()
    numbers = edge_numbers(Request("gpt-classroom", TEXT), Head("self", 1, 3), 10)
    assert set(numbers.tables) == set(MEASURES)
    table = agreement_table(numbers).set_index("measure")
    assert table.loc["Weight", "with weight"] == 1
    assert table.loc["Removed", "with removed"] == 1
    assert table["with removed"].between(-1, 1).all()
    # Row 10 is the last one: its effect on the prediction is measured for every visible key.
    assert np.isfinite(numbers.tables["removal"][10]).all()
    assert np.isnan(numbers.tables["removal"][3, 5])  # a later key is no edge


@pytest.mark.parametrize("name", ["bert-classroom", "t5-classroom", "llama-classroom"])
def test_other_kinds_of_models(open_app: OpenApp, name: str) -> None:
    app = flows(open_app(model=name))
    assert sentence(app)
    app.selectbox(key="edge_measure").select("rollout").run()
    assert not app.exception
    if name == "t5-classroom":  # it opens with cross-attention
        assert "cross-attention reads two texts" in said(app)


def test_a_longer_text_is_measured_in_the_background(open_app: OpenApp) -> None:
    app = open_app(layer=1, head=3)
    text = "The little fox ran into the dark forest. The old owl saw the little fox ran into the"
    app.text_area[0].set_value(text).run()
    flows(app)
    # The removal of the row's largest weight is one run, and known at once.
    before = sentence(app)
    assert "nats" in before
    assert "matters most" not in before
    app.selectbox(key="edge_measure").select("zeroing").run()
    assert not any(one["filename"].startswith("attnviz-zeroing") for one in maps(app))  # type: ignore[attr-defined]
    app.button(key="start:Measure every edge").click().run()
    until(lambda: long_jobs().unfinished == 0)
    app.run()
    assert any(one["filename"].startswith("attnviz-zeroing") for one in maps(app))  # type: ignore[attr-defined]
    assert sentence(app).startswith(before.rstrip("."))
    app.selectbox(key="edge_measure").select("flow").run()  # of one row: the others are no masks
    flow = next(one for one in maps(app) if one["filename"].startswith("attnviz-flow"))  # type: ignore[attr-defined]
    assert "masked, or not measured" in str(flow)
    request, model = Request("gpt-classroom", text), attnviz.load("gpt-classroom")
    last = len(encode(model, text).ids) - 1
    numbers = slow_edges(request, Head("self", 1, 3), last)
    assert numbers is not None
    plain = value_zeroing(model, encode(model, text), Head("self", 1, 3))
    known = numbers.visible
    np.testing.assert_allclose(numbers.tables["zeroing"][known], plain[known], atol=1e-5)


def test_long_texts_get_a_sentence(open_app: OpenApp) -> None:
    app = open_app()
    app.text_area[0].set_value("The old king sat down. " * 30).run()
    flows(app)
    assert "Edges are measured on texts of at most 128 tokens" in said(app)


def test_weight_is_not_explanation_as_measured() -> None:
    model = attnviz.load("gpt-classroom")
    text = encode(model, TEXT)
    last = len(text.ids) - 1
    stack = attnviz.capture(model, TEXT)["self"]
    effects = {}
    for head in (1, 7):
        row = stack.weights(0, head)[last]
        key = int(row.argmax())
        assert row[key] > 0.995  # "weight of 1.00"
        removed = remove_edges(model, text, Head("self", 0, head), [(last, key)])
        effects[head] = float(removed.divergence[0])
    assert effects[1] == pytest.approx(2.48, abs=0.005)
    assert effects[7] == pytest.approx(0.006, abs=0.0005)
