"""Numbers of the lesson about queries and keys, from the model's weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnviz.lessons import scenes_of
from attnviz.lessons.projection_scenes import input_vectors
from attnviz.types import Head
from tests.lessons.given import given, lesson, load


def test_a_hybrids_vectors_are_those_that_its_attention_layer_reads() -> None:
    one = lesson("projections")
    of_hybrid = given(one, model="hybrid-classroom", head=Head("self", 0, 0))
    read = []
    layer = load("hybrid-classroom").network.model.layers[2]  # the others are state spaces
    hook = layer.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].detach()))
    try:
        vectors = input_vectors(of_hybrid)
    finally:
        hook.remove()
    expected = torch.nn.functional.layer_norm(read[0][0].double(), read[0].shape[-1:], eps=0)
    assert np.abs(vectors - expected.numpy()).max() < 1e-4


@pytest.fixture(scope="module")
def scenes():
    one = lesson("projections")
    return scenes_of(one, given(one))


def test_the_three_matrices_from_the_weights(scenes) -> None:
    one = lesson("projections")
    ids = torch.tensor([list(given(one).capture.inputs.ids)])
    network = load("gpt-classroom").network
    seen = {}
    norm = network.transformer.h[1].ln_1
    handle = norm.register_forward_hook(lambda _, inputs, out: seen.update(x=inputs[0], y=out))
    with torch.inference_mode():
        network(ids, attention_mask=torch.ones_like(ids))
        handle.remove()
        plain = torch.nn.functional.layer_norm(seen["x"][0], (256,), eps=0)
        projected = network.transformer.h[1].attn.c_attn(seen["y"])[0]
        query, key = projected[:, :32], projected[:, 256 : 256 + 32]
        expected = [plain @ plain.T / 16, query @ query.T / 32**0.5, query @ key.T / 32**0.5]
    for shown, right in zip(scenes["plain"].arrays["matrix"], expected, strict=True):
        assert np.abs(shown - right.numpy()).max() < 1e-3


def test_only_two_projections_are_not_symmetric(scenes) -> None:
    matrices = scenes["two"].arrays["matrix"]
    for symmetric in matrices[:2]:
        assert np.abs(symmetric - symmetric.T).max() < 1e-6
    count = len(matrices[0])
    row, column = divmod(scenes["two"].places["proof"], count)
    apart = [abs(matrices[2][i, j] - matrices[2][j, i]) for i in range(count) for j in range(count)]
    assert abs(matrices[2][row, column] - matrices[2][column, row]) == pytest.approx(max(apart))
    assert max(apart) > 5
    assert scenes["plain"].places["itself"] == scenes["plain"].places["query"] * (count + 1)


def test_the_products_sum_to_the_score(scenes) -> None:
    one = lesson("projections")
    read = given(one)
    scores = read.capture["self"].scores(1, 0)[-1]
    scene = scenes["products"]
    assert scene.arrays["products"].shape == (9, 12)
    order = np.argsort(-scores)
    assert np.abs(scene.arrays["products"].sum(axis=1) - scores[order]).max() < 1e-4
    stack = read.capture["self"]
    total, needed = 0.0, 0
    products = sorted(stack.query(1, 0)[-1] * stack.key(1, 0)[order[0]], reverse=True)
    while total < scores[order[0]] / 2:
        total += float(products[needed]) / 32**0.5
        needed += 1
    assert scene.values["needed"][0] == needed
