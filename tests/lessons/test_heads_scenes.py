"""Numbers of the lesson about several heads against the library and slow loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import attnviz
from attnviz.lessons import scenes_of
from attnviz.lessons.heads.heads_scenes import NAMES, pattern_scores
from tests.bounds import MODEL
from tests.lessons.given import eager, given, lesson, load


@pytest.fixture(scope="module")
def scenes():
    one = lesson("heads")
    return scenes_of(one, given(one))


def test_each_name_belongs_to_one_head_with_much_of_it(scenes) -> None:
    scene = scenes["names"]
    assert sorted(scene.arrays["patterns"]) == list(range(len(NAMES)))
    assert len(set(scene.labels["heads"])) == len(NAMES)
    assert scene.arrays["shares"].min() > 0.35
    ids = load("bert-classroom").tokenizer("The little girl ran. The little girl").input_ids
    with torch.inference_mode():
        maps = eager("bert-classroom")(torch.tensor([ids]), output_attentions=True).attentions
    for label, shown in zip(scene.labels["heads"], scene.arrays["maps"], strict=True):
        layer, head = int(label[1]), int(label[4])
        assert np.abs(shown - maps[layer][0, head].numpy()).max() < MODEL


def test_pattern_scores_against_a_loop() -> None:
    draws = np.random.default_rng(0).random((7, 7))
    weights = draws / draws.sum(1, keepdims=True)
    ids = np.array([1, 5, 6, 5, 7, 6, 2])
    got = pattern_scores(weights, ids)
    rows = range(1, 6)
    before = np.mean([weights[row, row - 1] for row in rows])
    after = np.mean([weights[row, row + 1] for row in rows])
    ends = np.mean([2 * min(weights[row, 0], weights[row, 6]) for row in rows])
    copies = []
    for row in range(7):
        others = [key for key in range(7) if key != row and ids[key] == ids[row]]
        if others:
            copies.append(sum(weights[row, key] for key in others))
    entropy = np.mean([-(weights[row] * np.log(weights[row])).sum() for row in rows]) / np.log(7)
    earlier = np.mean([sum(weights[row, key] for key in range(1, row - 1)) for row in (3, 4, 5)])
    itself, first = np.diag(weights)[1:6].mean(), weights[1:6, 0].mean()
    expected = [before, after, itself, first, ends, np.mean(copies), entropy, earlier]
    assert got == pytest.approx(expected, abs=1e-12)


def test_the_average_and_what_it_costs(scenes) -> None:
    scene = scenes["average"]
    ids = list(
        attnviz.capture(load("gpt-classroom"), "The little girl ran. The little girl").inputs.ids
    )
    network = eager("gpt-classroom")
    with torch.inference_mode():
        run = network(torch.tensor([ids]), output_attentions=True)
    maps = run.attentions[0][0]
    assert np.abs(scene.arrays["average"] - maps.mean(0)[-1].numpy()).max() < MODEL
    assert np.abs(scene.arrays["row"] - maps[7, -1].numpy()).max() < MODEL
    token = load("gpt-classroom").tokenizer.encode(" ran", add_special_tokens=False)[0]
    assert scene.values["token"] == "ran"
    assert float(run.logits[0, -1].softmax(0)[token]) == pytest.approx(
        scene.values["kept"], abs=1e-4
    )
    attention = network.transformer.h[0].attn

    def averaged(module, args, kwargs):
        hidden = args[0] if args else kwargs["hidden_states"]
        value = module.c_attn(hidden)[0, :, 512:].unflatten(1, (8, 32)).transpose(0, 1)
        return (module.c_proj((maps.mean(0) @ value).transpose(0, 1).flatten(1))[None], None)

    attention.forward = lambda *args, **kwargs: averaged(attention, args, kwargs)
    with torch.inference_mode():
        chance = float(network(torch.tensor([ids])).logits[0, -1].softmax(0)[token])
    assert chance == pytest.approx(scene.values["lost"], abs=1e-4)
    assert chance < scene.values["kept"] / 20


def test_the_sum_of_the_heads_is_the_output_of_the_layer(scenes) -> None:
    scene = scenes["sum"]
    ids = list(
        attnviz.capture(load("gpt-classroom"), "The little girl ran. The little girl").inputs.ids
    )
    network = eager("gpt-classroom")
    outputs = []
    network.transformer.h[1].attn.c_proj.register_forward_hook(
        lambda _, __, output: outputs.append(output[0, -1])
    )
    with torch.inference_mode():
        network(torch.tensor([ids]))
    entries = [int(label.split()[1]) for label in scene.labels["entries"]]
    shown = scene.arrays["outputs"]
    assert np.abs(shown[0, -1] - outputs[0][entries].numpy()).max() < 1e-4  # sums of size 10
    for left_out in range(8):
        rest = shown[left_out + 1, -1] + shown[0, left_out]
        assert rest == pytest.approx(shown[0, -1], abs=1e-9)
        assert (shown[left_out + 1, left_out] == 0).all()
