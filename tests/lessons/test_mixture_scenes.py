"""Numbers of the lesson about the weighted sum against the attention module's own output."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnviz.lessons import scenes_of
from attnviz.lessons.mixture_scenes import LARGE_WEIGHT, SHORTENED, in_the_plane
from tests.lessons.given import given, lesson, load


@pytest.fixture(scope="module")
def scenes():
    one = lesson("mixture")
    return scenes_of(one, given(one))


def test_the_sum_of_the_arrows_is_the_output_in_the_plane(scenes) -> None:
    one = lesson("mixture")
    read = given(one)
    network = load("gpt-classroom").network
    seen = {}
    projection = network.transformer.h[1].attn.c_proj
    handle = projection.register_forward_pre_hook(lambda _, inputs: seen.update(x=inputs[0]))
    ids = torch.tensor([list(read.capture.inputs.ids)])
    with torch.inference_mode():
        network(ids, attention_mask=torch.ones_like(ids))
    handle.remove()
    output = seen["x"][0, -1, :32].numpy()  # head 0, before the output projection
    values = read.capture["self"].value(1, 0)
    along = values[4] / np.linalg.norm(values[4])
    points, weights = scenes["sum"].arrays["points"], scenes["sum"].arrays["weights"]
    total = weights @ points
    assert total[0] == pytest.approx(float(output @ along), abs=1e-3)
    assert np.linalg.norm(total) <= np.linalg.norm(output) + 1e-3


def test_the_plane_holds_the_first_vector_and_keeps_lengths_or_shortens_them() -> None:
    vectors = np.random.default_rng(0).normal(size=(9, 32))
    points, kept = in_the_plane(vectors, 4)
    assert np.abs(points[4] - [np.linalg.norm(vectors[4]), 0]).max() < 1e-9
    assert (np.linalg.norm(points, axis=1) <= np.linalg.norm(vectors, axis=1) + 1e-9).all()
    best = 0.0  # no other direction keeps more
    along = vectors[4] / np.linalg.norm(vectors[4])
    for _ in range(200):
        other = np.random.default_rng(_).normal(size=32)
        other -= (other @ along) * along
        other /= np.linalg.norm(other)
        squares = (vectors @ along) ** 2 + (vectors @ other) ** 2
        best = max(best, squares.sum() / (vectors**2).sum())
    assert best <= kept < 1


def test_the_emptiest_weight_is_found_by_a_slow_search(scenes) -> None:
    stack = given(lesson("mixture")).capture["self"]
    best = (0.0, "")
    for layer in range(4):
        for head in range(8):
            weights, values = stack.weights(layer, head), stack.value(layer, head)
            for query in range(2, len(weights)):
                parts = [
                    float(weights[query, key] * np.sqrt((values[key] ** 2).sum()))
                    for key in range(query + 1)
                ]
                for key, part in enumerate(parts):
                    gap = float(weights[query, key]) - part / sum(parts)
                    best = max(best, (gap, f"L{layer}·H{head}"))
    scene = scenes["empty"]
    assert scene.values["row_head"] == best[1]
    gap = scene.values["empty_weight"] - scene.values["empty_share"]
    assert gap == pytest.approx(best[0], abs=1e-5)
    assert gap > 0.2
    assert scene.arrays["shares"].sum(axis=1) == pytest.approx(np.ones(8))
    layer = int(best[1][1])
    query = next(
        at
        for at, label in enumerate(stack.query_tokens.labels)
        if label == scene.values["row_query"] and at + 1 == len(scene.labels["keys"])
    )
    for head in range(8):
        weights, values = stack.weights(layer, head)[query], stack.value(layer, head)
        parts = [weights[key] * np.sqrt((values[key] ** 2).sum()) for key in range(query + 1)]
        assert scene.arrays["shares"][head] == pytest.approx(np.array(parts) / sum(parts), abs=1e-5)
        assert np.abs(scene.arrays["weights"][head] - weights[: query + 1]).max() < 1e-5


@pytest.mark.parametrize("sentence", ["", "Come to us", "A dog and a cat sat on a mat."])
def test_the_row_with_a_weight_near_nine_tenths_and_its_shares(sentence: str) -> None:
    read = given(lesson("mixture"), sentence)
    stack = read.capture["self"]
    scene = scenes_of(lesson("mixture"), read)["shorten"]
    rows = [
        (abs(float(stack.weights(layer, head)[query].max()) - LARGE_WEIGHT), layer, head, query)
        for layer in range(4)
        for head in range(8)
        for query in range(2, len(stack.query_tokens))
    ]
    apart, layer, head, query = min(rows)
    assert scene.values["row_head"] == f"L{layer}·H{head}"
    assert scene.values["row_query"] == stack.query_tokens.labels[query]
    weights, values = stack.weights(layer, head)[query], stack.value(layer, head)
    top = scene.places["shortened"]
    assert abs(float(weights[top]) - LARGE_WEIGHT) == pytest.approx(apart, abs=1e-6)
    assert len(scene.labels["keys"]) == query + 1
    for factor, name in ((1.0, "share_before"), (SHORTENED, "share_after")):
        parts = []
        for key in range(query + 1):
            size = sum(float(one) ** 2 for one in values[key]) ** 0.5
            parts.append(float(weights[key]) * size * (factor if key == top else 1.0))
        assert scene.values[name] == pytest.approx(parts[top] / sum(parts), abs=1e-5)
    assert scene.values["share_after"] < scene.values["share_before"] / 1.2
