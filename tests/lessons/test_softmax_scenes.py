"""Numbers of the softmax lesson against the library's own attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import attnviz
from attnviz.errors import InputError
from attnviz.lessons import scenes_of
from attnviz.types import Head
from tests.bounds import MODEL
from tests.lessons.given import given, lesson


def eager_row(model: attnviz.Model, ids: list[int], head: Head) -> np.ndarray:
    """Return the last row of a head's weights as the library computes it."""
    network = model.network
    before = network.config._attn_implementation
    network.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            out = network(torch.tensor([ids]), output_attentions=True)
    finally:
        network.set_attn_implementation(before)
    return out.attentions[head.layer][0, head.head, -1].numpy()


@pytest.mark.parametrize("head", [Head("self", 1, 0), Head("self", 2, 3)])
def test_the_row_is_the_models_own(head: Head) -> None:
    one = lesson("softmax")
    read = given(one, head=head)
    scene = scenes_of(one, read)["twice"]
    expected = eager_row(read.model, list(read.capture.inputs.ids), head)
    assert np.abs(scene.arrays["weights"] - expected).max() < MODEL
    softmax = torch.softmax(torch.tensor(scene.arrays["scores"]).double(), 0).numpy()
    assert np.abs(softmax - expected).max() < MODEL


def test_the_untouched_lesson_shows_its_point() -> None:
    one = lesson("softmax")
    scene = scenes_of(one, given(one))["twice"]
    labels = scene.labels["keys"]
    assert labels[scene.places["top"]] == "·ran"
    assert scene.arrays["weights"].max() > 0.95
    assert labels[-1] == "·girl" and scene.places["query"] == len(labels) - 1


def test_twice_and_half_are_what_they_say() -> None:
    one = lesson("softmax")
    scene = scenes_of(one, given(one))["twice"]
    scores = torch.tensor(scene.arrays["scores"]).double()
    scores[scene.places["second"]] = scene.values["twice"]
    weights = torch.softmax(scores, 0)
    ratio = weights[scene.places["top"]] / weights[scene.places["second"]]
    assert float(ratio) == pytest.approx(2, rel=1e-6)
    scores = torch.tensor(scene.arrays["scores"]).double()
    with_sink = torch.softmax(torch.cat([scores, torch.tensor([scene.values["half"]])]), 0)
    assert float(with_sink[-1]) == pytest.approx(0.5, rel=1e-6)


def test_an_encoder_reads_the_cut_sentence() -> None:
    one = lesson("softmax")
    long = "The old king gave his daughter a golden ring and a silver cup and much more."
    scene = scenes_of(one, given(one, long, "bert-classroom"))["twice"]
    assert len(scene.labels["keys"]) <= 12
    assert scene.arrays["weights"].sum() == pytest.approx(1, abs=1e-5)


def test_a_sentence_of_one_token_is_refused_with_advice() -> None:
    one = lesson("softmax")
    with pytest.raises(InputError, match="write a longer sentence"):
        scenes_of(one, given(one, "a"))
