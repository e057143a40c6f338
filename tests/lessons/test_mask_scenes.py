"""Numbers of the lesson about masks against the library's eager attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnviz.errors import InputError
from attnviz.lessons import scenes_of
from tests.lessons.given import eager, given, lesson, load


@pytest.fixture(scope="module")
def scenes():
    one = lesson("masks")
    return scenes_of(one, given(one))


def test_losses_with_and_without_the_mask(scenes) -> None:
    read = given(lesson("masks"))
    network = load("gpt-classroom").network
    ids = torch.tensor([list(read.capture.inputs.ids)])
    count = ids.shape[1]
    before = network.config._attn_implementation
    network.set_attn_implementation("eager")
    try:
        for name, bias in (
            ("with_mask", torch.full((count, count), -1e9).triu(1)),
            ("without", torch.zeros(count, count)),
        ):
            with torch.inference_mode():
                logits = network(ids, attention_mask=bias[None, None]).logits[0, :-1]
            expected = -torch.log_softmax(logits, -1)[range(count - 1), ids[0, 1:]]
            shown = scenes["cheat"].arrays[name]
            shown = shown[-1] if name == "without" else shown
            assert np.abs(shown - expected.numpy()).max() < 1e-3
    finally:
        network.set_attn_implementation(before)
    values = scenes["cheat"].values
    assert values["honest"] == pytest.approx(np.nanmean(read.capture.losses), abs=1e-3)
    assert values["everything"] == values["cheating"][-1] < values["honest"] / 3
    assert scenes["cheat"].arrays["without"][0] == pytest.approx(
        scenes["cheat"].arrays["with_mask"], abs=1e-6
    )
    ahead = torch.full((count, count), -1e9).triu(3)  # a token and the next two
    eager_network = eager("gpt-classroom")
    with torch.inference_mode():
        logits = eager_network(ids, attention_mask=ahead[None, None]).logits[0, :-1]
    expected = -torch.log_softmax(logits, -1)[range(count - 1), ids[0, 1:]]
    assert np.abs(scenes["cheat"].arrays["without"][2] - expected.numpy()).max() < 1e-3


def test_the_mask_is_the_models(scenes) -> None:
    read = given(lesson("masks"))
    shown = scenes["paint"].arrays["scores"][1]
    expected = read.capture["self"].scores(1, 0)[:6, :6]
    assert (np.isneginf(shown) == np.isneginf(expected)).all()
    finite = np.isfinite(expected)
    assert np.abs(shown[finite] - expected[finite]).max() < 1e-3
    assert (scenes["paint"].arrays["causal"] == finite).all()
    assert scenes["paint"].values["pairs"] == (~finite).sum()


def test_zero_after_loses_weight_and_minus_infinity_before_does_not(scenes) -> None:
    scene = scenes["zeros"]
    read = given(lesson("masks"))
    scores = torch.tensor(read.capture["self"].scores(1, 0)[-1])
    top = int(scores.argmax())
    assert scene.places["top"] == top
    left = 1 - float(torch.softmax(scores, 0)[top])
    assert scene.values["others"] == pytest.approx(left, abs=1e-5)
    assert np.abs(scene.arrays["scores"] - scores.numpy()).max() < 1e-5


def test_an_encoder_is_refused() -> None:
    with pytest.raises(InputError, match="no causal mask"):
        scenes_of(lesson("masks"), given(lesson("masks"), model="bert-classroom"))
