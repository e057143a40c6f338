"""Numbers of the lesson about √d against products of whole random vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnviz.lessons import scenes_of
from attnviz.lessons.scaling_scenes import SIZES
from tests.lessons.given import eager, given, lesson, load

DRAWS = 1500


@pytest.fixture(scope="module")
def scenes():
    one = lesson("scaling")
    return scenes_of(one, given(one))


@pytest.mark.parametrize("place", [0, 2, 4, 6, 8, 10])
def test_products_of_whole_vectors_agree(scenes, place: int) -> None:
    size = SIZES[place]
    generator = torch.Generator().manual_seed(3)
    query = torch.randn(DRAWS, 1, size, generator=generator)
    key = torch.randn(DRAWS, 16, size, generator=generator)
    scores = (query * key).sum(-1).double()
    assert scenes["spread"].values["spreads"][place] == pytest.approx(float(scores.std()), rel=0.12)
    for name, factor in (("plain", 1), ("scaled", size**-0.5)):
        weights = torch.softmax(scores * factor, -1)
        largest = weights.max(-1).values
        # Both are means of independent draws: five standard errors of the smaller sample.
        error = 5 * float(largest.std()) / DRAWS**0.5
        assert scenes["largest"].arrays[name][place] == pytest.approx(
            float(largest.mean()), abs=error
        )
        slope = torch.stack(
            [
                torch.autograd.functional.jacobian(lambda x: torch.softmax(x, 0), row).trace()
                for row in scores[:300] * factor
            ]
        )
        error = 5 * float(slope.std()) / 300**0.5
        assert scenes["slope"].arrays[name][place] == pytest.approx(float(slope.mean()), abs=error)


def test_the_curves_show_the_point(scenes) -> None:
    plain, scaled = (scenes["largest"].arrays[name] for name in ("plain", "scaled"))
    assert plain[-1] > 0.93 and (np.diff(plain) > 0).all()
    assert np.ptp(scaled[2:]) < 0.03 and abs(scaled[-1] - 0.25) < 0.02
    shares = scenes["spread"].arrays["shares"]
    assert (shares.max(axis=1) == 1).all()
    # At half of the highest, a normal distribution is 2.355 spreads wide; a bin is 2.5 wide.
    width = 2.5 * (shares[-1] >= 0.5).sum()
    assert width == pytest.approx(2.355 * 32, rel=0.15)


def test_t5_has_small_products_without_a_division(scenes) -> None:
    shown, smallest, largest = scenes["t5"].arrays["spreads"]
    spreads = []
    model = load("t5-classroom")
    ids = model.tokenizer(lesson("scaling").sentence, return_tensors="pt").input_ids
    vectors: dict[tuple[int, str], torch.Tensor] = {}
    handles = []
    for layer, block in enumerate(model.network.encoder.block):
        attention = block.layer[0].SelfAttention
        for name in ("q", "k"):

            def keep(_, __, out, at=(layer, name)):
                vectors[at] = out[0].detach()

            handles.append(getattr(attention, name).register_forward_hook(keep))
    with torch.inference_mode():
        model.network.encoder(ids)
    for handle in handles:
        handle.remove()
    for layer in range(3):
        query, key = (vectors[layer, name].reshape(-1, 8, 32) for name in ("q", "k"))
        for head in range(8):
            spreads.append(float((query[:, head] @ key[:, head].T).std(correction=0)))
    assert shown[2] == pytest.approx(np.median(spreads), rel=0.02)
    assert smallest[2] == pytest.approx(min(spreads), rel=0.02)
    assert largest[2] == pytest.approx(max(spreads), rel=0.02)
    assert shown[0] / shown[1] == pytest.approx(32**0.5)
    assert shown[2] < shown[1]


def test_a_real_row_is_the_models_when_divided_and_sharper_when_not(scenes) -> None:
    scene = scenes["real"]
    one = lesson("scaling")
    ids = torch.tensor([given(one).capture.inputs.ids])
    seen = {}
    network = eager("gpt-classroom")
    layer, head = one.head
    network.transformer.h[layer].attn.c_attn.register_forward_hook(
        lambda _, __, out: seen.update(query=out[0, -1, :256], key=out[0, :, 256:512])
    )
    with torch.inference_mode():
        weights = network(ids, output_attentions=True).attentions[layer][0, head, -1]
    part = slice(32 * head, 32 * head + 32)
    products = (seen["key"][:, part] @ seen["query"][part]).double()
    assert np.abs(scene.arrays["scores"] - products.numpy()).max() < 1e-3
    assert np.abs(scene.arrays["divided"] - weights.numpy()).max() < 1e-4
    plain = torch.softmax(products, 0)
    assert scene.values["top_plain"] == pytest.approx(float(plain.max()), abs=1e-3)
    assert scene.values["root"] == pytest.approx(32**0.5)
    assert scene.values["top_plain"] > scene.values["top_divided"] + 0.2
