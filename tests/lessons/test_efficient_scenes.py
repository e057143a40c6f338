"""Numbers of the lesson about efficient attention against loops and the library's attention."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from attnviz.captures.forward_pass import capture
from attnviz.experiments.text_sets import bundled
from attnviz.lessons import scenes_of
from attnviz.types import Head
from attnviz.written_numbers import percent
from tests.lessons.given import eager, given, lesson, load


@pytest.fixture(scope="module")
def scenes():
    one = lesson("efficient")
    return scenes_of(one, given(one))


def test_pairs_are_those_of_a_loop(scenes) -> None:
    scene = scenes["wall"]
    lengths = [int(one.replace(",", "")) for one in scene.labels["lengths"]]
    billions = np.round(scene.arrays["billions"] * 1e9)
    for at, count in enumerate(lengths):
        assert billions[0, at] == count**2
        assert billions[1, at] == sum(range(1, count + 1))
        assert billions[2, at] == sum(min(row, 4096) for row in range(1, count + 1))
    # BigBird: at most 5 blocks of 64 per row, and all keys in the rows of the first block
    assert (billions[3] <= [5 * 64 * one + 64 * one for one in lengths]).all()
    assert (billions[3] >= [4 * 64 * one for one in lengths]).all()
    assert scene.values["all"] == 16_384_000_000
    assert scene.values["gigabytes"][0] == pytest.approx(2 * 128_000**2 / 1e9)
    assert scene.values["times"] == 256


def test_patterns_hide_pairs_of_a_real_head(scenes) -> None:
    scene = scenes["pattern"]
    network = eager("bert-classroom")
    ids = load("bert-classroom").tokenizer("The dog saw it.", return_tensors="pt")
    with torch.inference_mode():
        weights = network(**ids, output_attentions=True).attentions[1][0, 2].numpy()
    count = len(weights)
    for at, name in enumerate(scene.labels["patterns"]):
        shown = scene.arrays["weights"][at]
        seen = np.isfinite(shown)
        assert np.abs(shown[seen] - weights[seen]).max() < 1e-5
        assert scene.values["pairs"][at] == seen.sum()
        lost = np.mean([sum(weights[row][~seen[row]]) for row in range(count)])
        assert scene.values["lost"][at] == percent(float(lost))
        near = [[abs(row - key) < 2 for key in range(count)] for row in range(count)]
        wide = [[row == 0 or key == 0 for key in range(count)] for row in range(count)]
        expected = {
            "all pairs": np.ones((count, count), bool),
            "window": np.array(near),
            "Longformer": np.array(near) | np.array(wide),
        }
        if name == "BigBird":
            fixed = np.array(near) | np.array(wide)
            assert (seen >= fixed).all()
            assert ((seen & ~fixed).sum(1)[1:] == 1).all()  # one random block of one token
        else:
            assert (seen == expected[name]).all()
    assert (scene.arrays["longformer"] == np.isfinite(scene.arrays["weights"][2])).all()
    pairs = sum(1 if row and key else 0 for row in range(4096)
                for key in range(max(0, row - 256), min(4096, row + 257)))  # fmt: skip
    share = (pairs + 2 * 4096 - 1) / 4096**2
    assert scene.values["long_share"] == percent(float(share))


def test_news_travel_two_tokens_per_layer(scenes) -> None:
    every = scenes["reach"].arrays["changes"]
    windows, count, layers = every.shape
    assert scenes["reach"].values["window"] == [2, 3, 4, 6] and windows == 4
    for frame, window in enumerate((2, 3, 4, 6)):
        for token in range(count):
            for layer in range(layers):
                back = count - 1 - token
                expected = back <= (window - 1) * (layer + 1)
                assert (every[frame, token, layer] > 1e-5) == expected
    changes = every[scenes["reach"].places["narrow"]]
    # the library's eager attention under the same mask
    network = eager("gpt-classroom")
    ids = torch.tensor([list(given(lesson("efficient")).capture.inputs.ids)])
    mask = torch.full((count, count), -1e9)
    for row in range(count):
        mask[row, max(0, row - 2) : row + 1] = 0
    vectors = []
    for token in (None, count - 3):
        read = ids.clone()
        if token is not None:
            read[0, token] = ids[0, token + 1]
        with torch.inference_mode():
            run = network(read, attention_mask=mask[None, None], output_hidden_states=True)
        vectors.append([layer[0, -1].double() for layer in run.hidden_states[1:]])
    for layer, (before, after) in enumerate(zip(*vectors, strict=True)):
        expected = float((after - before).norm() / before.norm())
        assert changes[count - 3, layer] == pytest.approx(expected, abs=1e-4)
    assert scenes["reach"].values["far"] == [layers, 2 * layers, 3 * layers, 5 * layers]
    assert scenes["reach"].values["mistral"] == 131_040


def test_errors_of_two_heads_are_those_of_a_masked_softmax(scenes) -> None:
    scene = scenes["hard"]
    stack = capture(load("gpt-classroom"), bundled("decoder").texts[0].source)["self"]
    widths = [math.inf, *(int(one) for one in scene.labels["widths"][1:])]
    entropies = []
    for head in range(8):
        weights = torch.tensor(stack.weights(1, head)).double()
        entropies.append(float(torch.special.entr(weights).sum(1).mean()))
    chosen = sorted({int(np.argmin(entropies)), int(np.argmax(entropies))})
    assert scene.labels["heads"] == [f"L1·H{head}" for head in chosen]
    for place, head in enumerate(chosen):
        scores = torch.tensor(stack.scores(1, head)).double()
        value = torch.tensor(stack.value(1, head)).double()
        exact = scores.softmax(1) @ value
        for frame, width in enumerate(widths):
            masked = scores.clone()
            for row in range(len(scores)):
                for key in range(len(scores)):
                    if row - key >= width:
                        masked[row, key] = -math.inf
            weights = masked.softmax(1)
            error = float(((weights @ value - exact).norm(dim=1) / exact.norm(dim=1)).mean())
            assert scene.arrays["errors"][frame, place] == pytest.approx(error, abs=1e-4)
            shown = scene.arrays["maps"][frame, place]
            assert (np.isfinite(shown) == torch.isfinite(masked).numpy()).all()
            assert np.abs(np.nan_to_num(shown) - weights.numpy()).max() < 1e-4
    errors = scene.arrays["errors"][3]
    assert scene.places["harder"] == errors.argmax()
    assert errors.max() > 3 * errors.min()  # the point is visible in the default state


def test_the_running_sum_is_that_of_the_keys_read(scenes) -> None:
    scene = scenes["fold"]
    scores = [float(one) for one in scene.arrays["scores"]]
    jump = scene.places["jump"]
    before = sum(math.exp(one - max(scores[:jump])) for one in scores[:jump])
    after = sum(math.exp(one - max(scores[: jump + 1])) for one in scores[: jump + 1])
    assert scene.values["earlier"] == pytest.approx(before)
    assert scene.values["after"] == pytest.approx(after)
    for at in range(len(scores)):
        assert scene.arrays["highest_so_far"][at] == max(scores[: at + 1])
        total = sum(math.exp(one - max(scores[: at + 1])) for one in scores[: at + 1])
        assert scene.arrays["sums"][at] == pytest.approx(total)
    factor = math.exp(max(scores[:jump]) - max(scores[: jump + 1]))
    assert float(scene.values["factor"]) == pytest.approx(factor, rel=0.01)
    assert factor < 0.1  # the point is visible in the default state
    weights = torch.softmax(torch.tensor(scores), 0).numpy()
    assert np.abs(scene.arrays["weights"] - weights).max() < 1e-5


def test_linear_weights_by_hand(scenes) -> None:
    scene = scenes["linear"]
    stack = given(lesson("efficient")).capture["self"]
    root = float(stack.layers[1].scaling) ** 0.5

    def feature(x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x + 1, np.exp(x))

    assert (scene.arrays["linear"][0] == scene.arrays["weights"][0]).all()
    assert scene.places["linear"] == 1 and len(scene.arrays["linear"]) == 1 + 8
    for head in range(8):
        query, key = (one(1, head).astype(float) * root for one in (stack.query, stack.key))
        products = [float(feature(query[-1]) @ feature(one)) for one in key]
        expected = np.array(products) / sum(products)
        weights = stack.weights(1, head)[-1]
        assert np.abs(scene.arrays["linear"][1 + head] - expected).max() < 1e-6
        assert (scene.arrays["weights"][1 + head] == weights).all()
        apart = np.abs(expected - weights).sum() / 2
        assert scene.values["apart"][1 + head] == percent(float(apart))
    assert scene.values["state"] == 32 * 33


@pytest.mark.parametrize("model", ["llama-classroom", "gpt-classroom"])
def test_other_heads_and_sentences(model: str) -> None:
    one = lesson("efficient")
    for head in (Head("self", 0, 3), Head("self", 2, 1)):
        scenes = scenes_of(one, given(one, "She gave him a red ball.", model, head))
        assert scenes["fold"].values["head"] == head.label
        assert 0 < scenes["fold"].values["after"] <= len(scenes["fold"].arrays["scores"])
        assert scenes["hard"].arrays["errors"].shape == (5, 2)
