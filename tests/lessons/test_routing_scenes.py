"""Numbers of the lesson about weights and effects against hooks in the library's model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnviz.lessons import scenes_of
from attnviz.types import Head
from tests.bounds import MODEL
from tests.lessons.given import eager, given, lesson, load

CLOSE = 1e-4
"""Bound of probabilities: float32 logits of size 10 through a softmax."""


@pytest.fixture(scope="module")
def scenes():
    one = lesson("routing")
    return scenes_of(one, given(one))


def ids() -> torch.Tensor:
    one = lesson("routing")
    return torch.tensor([given(one).capture.inputs.ids])


def test_shares_are_those_of_values_through_the_output_projection(scenes) -> None:
    scene = scenes["values"]
    network = eager("gpt-classroom")
    attention = network.transformer.h[1].attn
    seen = {}
    attention.c_attn.register_forward_hook(lambda _, __, out: seen.update(values=out[0, :, 512:]))
    with torch.inference_mode():
        weights = network(ids(), output_attentions=True).attentions[1][0, 3, -1]
    lengths = []
    for at, weight in enumerate(weights):
        alone = torch.zeros(256)
        alone[96:128] = weight * seen["values"][at, 96:128]
        lengths.append(float((attention.c_proj.weight.detach().T @ alone).norm()))
    expected = np.array(lengths) / sum(lengths)
    assert np.abs(scene.arrays["weights"][3] - weights.numpy()).max() < MODEL
    assert np.abs(scene.arrays["shares"][3] - expected).max() < MODEL
    assert scene.arrays["shares"].sum(axis=1) == pytest.approx(np.ones(8))
    assert scene.values["moved"] == pytest.approx(
        float(np.maximum(expected - weights.numpy(), 0).sum()), abs=CLOSE
    )


def test_predictions_without_a_head_are_those_of_zeros_before_the_projection(scenes) -> None:
    scene = scenes["removed"]
    with torch.inference_mode():
        before = eager("gpt-classroom")(ids()).logits[0, -1].softmax(0)
    top = before.topk(6)
    assert scene.arrays["before"][:6] == pytest.approx(top.values.numpy(), abs=CLOSE)
    assert scene.arrays["without"].sum(1) == pytest.approx(np.ones(9), abs=1e-6)
    for head in range(8):
        network = eager("gpt-classroom")

        def zeros(_, args, head=head):
            mixture = args[0].clone()
            mixture[..., head * 32 : (head + 1) * 32] = 0
            return (mixture,)

        network.transformer.h[1].attn.c_proj.register_forward_pre_hook(zeros)
        with torch.inference_mode():
            after = network(ids()).logits[0, -1].softmax(0)
        shown = scene.arrays["without"][head + 1]
        assert shown[:6] == pytest.approx(after[top.indices].numpy(), abs=CLOSE)
        moved = float((after - before).clamp_min(0).sum())
        assert scene.values["effect"][head + 1] == pytest.approx(moved, abs=CLOSE)


def test_the_sharpest_head_is_not_the_most_important(scenes) -> None:
    scene = scenes["compare"]
    best, sharpest = scene.places["best"], scene.places["sharpest"]
    assert best != sharpest
    effects, largest = scene.arrays["effects"], scene.arrays["largest"]
    assert effects.shape == (4, 8) and scene.places["here"] == 1
    assert effects[1, best] > 5 * effects[1, sharpest]
    for layer in range(4):
        first, second = (np.argsort(np.argsort(one[layer])) for one in (largest, effects))
        expected = 1 - 6 * ((first - second) ** 2).sum() / (8 * 63)  # Spearman without ties
        assert scene.values["correlation"][layer] == pytest.approx(expected)
    assert effects[1] == pytest.approx(scenes["removed"].values["effect"][1:])


@pytest.mark.parametrize("model", ["llama-classroom", "hybrid-classroom"])
def test_other_decoders(model: str) -> None:
    one = lesson("routing")
    loaded = load(model)
    kind = next(iter(loaded.info.heads))
    scenes = scenes_of(one, given(one, model=model, head=Head(kind, 0, 1)))
    assert np.abs(scenes["values"].arrays["shares"].sum(axis=1) - 1).max() < 1e-6
    assert max(scenes["removed"].values["effect"]) > 1e-4
