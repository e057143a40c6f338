"""Test the laboratory: every variant on the open head, and the sentences about it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

import attnviz
from attnviz import efficient
from attnviz.efficient.methods.result import prepare
from attnviz.types import Head
from attnviz.ui.laboratory.head_vectors import LONGEST, head_vectors
from attnviz.ui.laboratory.reach_panel import LAYERS, layers_needed
from attnviz.ui.laboratory.tile_steps import tile_steps
from attnviz.written_numbers import percent
from tests.app.conftest import OpenApp, said

PAGE = "pages/learn/laboratory.py"


def weight_maps(app: AppTest) -> list[object]:
    """Return the map components of the page, signed ones too."""
    return [one for one in app.get("bidi_component") if one.proto.component_name == "attnviz.map"]


def without_number(app: AppTest) -> np.ndarray:
    """Return the cells of the exact map that have no number: masked, or covered."""
    packed = weight_maps(app)[0].proto.bytes  # type: ignore[attr-defined]
    codes = np.frombuffer(packed[-2 * 25 * 25 :], "<u2").reshape(25, 25)
    return codes == 0xFFFF


def test_every_variant_of_a_gpt(open_app: OpenApp) -> None:
    app = open_app(PAGE, layer=1, head=5, variant="exact")
    for name in efficient.names():
        app.selectbox(key="variant").select(name).run()
        assert not app.exception, name
        described = efficient.describe(name)
        if described.causal:
            assert len(weight_maps(app)) == 2, name
            assert app.metric[0].value.endswith("of 325") or app.metric[0].value == "none"
        else:
            assert "Choose a BERT" in said(app), name
    assert "another model" in said(app).lower()


def test_the_figures_are_those_of_a_direct_run(open_app: OpenApp) -> None:
    app = open_app(PAGE, layer=1, head=5, variant="window")
    app.select_slider(key="setting:window").set_value(4).run()
    model = attnviz.load("gpt-classroom")
    stack = attnviz.capture(model, app.text_area[0].value)["self"]
    query, key, value = (
        part(1, 5).astype(np.float64) for part in (stack.query, stack.key, stack.value)
    )
    scale = stack.layers[1].scaling
    exact = efficient.run("exact", query, key, value, scale=scale)
    result = efficient.run("window", query, key, value, scale=scale, window=4)
    np.testing.assert_allclose(np.nan_to_num(exact.weights), stack.weights(1, 5), atol=1e-5)
    apart = np.linalg.norm(result.output - exact.output) / np.linalg.norm(exact.output)
    pairs, counted, moved, error = (one.value for one in app.metric)
    assert pairs == f"{int(result.computed.sum())} of {25 * 26 // 2}"
    assert counted == f"{result.operations / exact.operations:.2f} of exact"
    outside = np.where(result.computed, 0, stack.weights(1, 5)).sum(1).mean()
    assert moved == percent(float(outside))
    assert error == f"{apart:.2g}"


@pytest.mark.parametrize(
    ("variant", "side", "words"),
    [
        ("window", "What it costs", "16.4 billion pairs"),
        ("exact", "How far it reaches", "1 layer of Exact attention is enough"),
        ("window", "How far it reaches", "layers of Sliding window are enough"),
        ("window", "All variants", "Each point is a variant at one setting"),
        ("window", "What it changes", "for which of these two heads"),
        ("linear", "What it changes", "is not an error"),
        ("flash", "Tile by tile", "No tile is read twice"),
        ("ring", "Round by round", "of keys and values move between devices"),
    ],
)
def test_each_side(open_app: OpenApp, variant: str, side: str, words: str) -> None:
    app = open_app(PAGE, layer=1, head=5, variant=variant)
    app.segmented_control(key="lab_side").set_value(side).run()
    assert not app.exception
    assert words in said(app) or any(words in one.value for one in app.text)


def test_the_point_is_found_by_its_length(open_app: OpenApp) -> None:
    app = open_app(PAGE, layer=1, head=5, variant="window")
    app.segmented_control(key="lab_side").set_value("What it costs").run()
    assert not app.success
    app.select_slider(key="lab_length").set_value(128_000).run()
    assert "16.4 billion pairs" in app.success[0].value
    assert "8,192,064,000" in said(app)


def test_the_first_guess_stays_behind_the_errors(open_app: OpenApp) -> None:
    app = open_app(PAGE, layer=1, head=5, variant="window")
    app.segmented_control(key="lab_side").set_value("What it changes").run()
    assert not [one for one in app.get("plotly_chart") if "lab_predicted" in one.proto.id]
    app.button(key="lab_guess:peaked").click().run()
    assert not app.exception
    (chart,) = [one.proto for one in app.get("plotly_chart") if "lab_predicted" in one.proto.id]
    figure = json.loads(chart.spec)
    model = attnviz.load("gpt-classroom")
    stack = attnviz.capture(model, app.text_area[0].value)["self"]
    errors = {}
    for head in range(8):
        query, key, value = (
            part(1, head).astype(np.float64) for part in (stack.query, stack.key, stack.value)
        )
        exact = efficient.run("exact", query, key, value, scale=stack.layers[1].scaling).output
        near = efficient.run(
            "window", query, key, value, scale=stack.layers[1].scaling, window=8
        ).output
        errors[f"L1·H{head}"] = np.linalg.norm(near - exact) / np.linalg.norm(exact)
    for name, error in zip(figure["data"][0]["y"], figure["data"][0]["x"], strict=True):
        assert errors[name] == pytest.approx(error, rel=1e-6)
    assert len(figure["layout"]["shapes"]) == 1
    assert not [one for one in app.button if str(one.key).startswith("lab_guess")]


def test_the_exact_map_is_covered_where_nothing_is_computed(open_app: OpenApp) -> None:
    app = open_app(PAGE, layer=1, head=5, variant="window")
    before = without_number(app)
    app.toggle(key="lab_cover").set_value(True).run()
    hidden = without_number(app) & ~before
    rows, columns = np.nonzero(hidden)
    assert hidden.sum() == (25 - 8) * (25 - 7) / 2  # keys at least 8 before the query
    assert (rows - columns >= 8).all()


def test_an_approximation_can_be_exact_here(open_app: OpenApp) -> None:
    app = open_app(PAGE, layer=1, head=5, variant="window")
    assert "An approximation of softmax attention" in said(app)
    app.select_slider(key="setting:window").set_value(32).run()
    assert "Exact with this setting" in said(app)


def test_steps_of_tiles_beside_a_loop() -> None:
    draw = np.random.default_rng(5)
    query, key, value = (draw.normal(size=(11, 4)) for _ in range(3))
    inputs = prepare(query * 3, key, value, True, None)
    for order in ([0, 1, 2], [2, 0, 1]):
        seen: list[int] = []
        before = None
        scores = inputs.query.numpy()[10] @ key.T / 2
        for number, step in zip(order, tile_steps(inputs, 10, 4, order), strict=True):
            seen += range(4 * number, min(4 * number + 4, 11))
            assert (step["start"], step["stop"]) == (4 * number, min(4 * number + 4, 11))
            highest = max(scores[seen])
            assert step["highest"] == pytest.approx(highest)
            assert step["total"] == pytest.approx(np.exp(scores[seen] - highest).sum())
            factor = 1.0 if before is None else np.exp(before[0] - highest)
            assert step["factor"] == pytest.approx(factor)
            assert step["rescaled"] == pytest.approx(0.0 if before is None else before[1] * factor)
            before = (highest, step["total"])
        assert step["error"] < 1e-12


def test_a_bert_mixes_positions_and_a_t5_has_another_score(open_app: OpenApp) -> None:
    app = open_app(PAGE, model="bert-classroom", variant="linformer")
    assert not app.exception
    assert len(weight_maps(app)) == 2
    app = open_app(PAGE, model="t5-classroom", variant="window")
    app.segmented_control(key="kind").set_value("cross").run()
    assert not app.exception
    assert "is for self-attention" in said(app)
    app.segmented_control(key="kind").set_value("encoder").run()
    assert not app.exception
    assert "computed without that" in said(app)


def test_shared_keys_of_a_llama_are_repeated() -> None:
    model = attnviz.load("llama-classroom")
    stack = attnviz.capture(model, "The old king sat down and the old king slept.")["self"]
    vectors = head_vectors(stack, Head("self", 1, 3))
    assert vectors.plain
    assert vectors.causal
    assert vectors.key_heads < len(vectors.key)
    weights = vectors.run("exact", 3).weights
    np.testing.assert_allclose(np.nan_to_num(weights), stack.weights(1, 3), atol=1e-5)
    shared = vectors.run("grouped_query", groups=vectors.key_heads)
    np.testing.assert_allclose(shared.output, vectors.run("exact").output, atol=1e-10)


def test_a_long_text_is_read_up_to_a_limit() -> None:
    model = attnviz.load("llama-classroom")
    stack = attnviz.capture(model, "the cat sat on a mat and " * 60, cut=True)["self"]
    assert stack.shape[2] > LONGEST
    assert head_vectors(stack, Head("self", 0, 0)).query.shape[1] == LONGEST


def test_layers_needed_beside_a_walk() -> None:
    draw = torch.Generator().manual_seed(3)
    mask = (torch.rand(9, 9, generator=draw) < 0.2).tril() | torch.eye(9, dtype=torch.bool)
    needed = layers_needed(mask)
    for start in range(9):
        seen, steps = {start}, {start: 0}
        for layer in range(1, LAYERS + 1):
            seen = seen | {int(k) for q in seen for k in torch.nonzero(mask[q]).flatten()}
            for one in seen:
                steps.setdefault(one, layer)
        for position in range(9):
            assert needed[start, position] == steps.get(position, LAYERS + 1)
