"""Weights and logits of the shipped models equal the library's, on real sentences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

import attnviz
from attnviz import Model
from attnviz.captures.forward_pass import encode
from attnviz.models import CLASSROOM, Shipped
from tests.engine.test_equal_library import assert_equal_weights
from tests.zoo import AUTO, eager_attentions

TEXTS = (
    "A",
    "The cat sat on the mat.",
    "Once upon a time, there was a little girl. The little girl had a cat, and the cat had a hat.",
)


@pytest.fixture(scope="module", params=CLASSROOM, ids=lambda one: one.name)
def shipped(request: pytest.FixtureRequest) -> tuple[Shipped, Model, PreTrainedModel]:
    one: Shipped = request.param
    model = attnviz.load(one.name)
    eager = AUTO[one.family].from_pretrained(
        one.folder, attn_implementation="eager", dtype=torch.float32
    )
    return one, model, eager.eval()


@pytest.mark.parametrize("text", TEXTS)
def test_weights_and_logits_equal_eager(shipped: tuple, text: str) -> None:
    one, model, eager = shipped
    shown = attnviz.capture(model, one.prompt + text)
    inputs = {"input_ids": torch.tensor([encode(model, one.prompt + text).ids])}
    if one.family == "encoder-decoder":
        inputs["decoder_input_ids"] = torch.tensor([shown["decoder"].query_tokens.ids.tolist()])
    assert_equal_weights(shown, eager_attentions(eager, **inputs))
    with torch.inference_mode():
        mine, theirs = model.network(**inputs).logits, eager(**inputs).logits
    torch.testing.assert_close(mine, theirs, atol=2e-4, rtol=1e-4)
    best = theirs[0].softmax(-1).amax(-1).numpy()
    np.testing.assert_allclose([p.probabilities[0] for p in shown.predictions], best, atol=1e-4)


def test_shipped_model_is_loaded_from_the_package(shipped: tuple) -> None:
    one, model, _ = shipped
    assert model.info.source == "classroom"
    assert model.info.family == one.family
    assert len(model.info.revision) == 12
    assert model.info.title == one.title


def test_known_heads_exist(shipped: tuple) -> None:
    _, model, _ = shipped
    for known in model.info.known_heads:
        layers, heads = model.info.heads[known.head.kind]
        assert 0 <= known.head.layer < layers
        assert 0 <= known.head.head < heads
