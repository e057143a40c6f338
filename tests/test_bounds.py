"""Bounds lie between the difference of two right runs and the effect of a fault."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from tests.bounds import MODEL, MODEL_NATS
from tests.zoo import Pair, all_weights, inputs_of, random_texts

Zoo = Callable[[str], Pair]
NAMES = ("gpt2", "bert", "bart", "mixtral", "deepseek_v3", "jamba", "umt5")
MARGIN = 5
FAULT = 100


def library_run(network: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> list[np.ndarray]:
    """Return the library's weights, all layers and kinds, and its log-probabilities."""
    with torch.inference_mode():
        output = network(**inputs, output_attentions=True)
    kinds = ("attentions", "encoder_attentions", "decoder_attentions", "cross_attentions")
    layers = [one for kind in kinds for one in getattr(output, kind, None) or ()]
    logits = output.logits.log_softmax(-1)
    return [one.numpy() for one in (*(one for one in layers if one is not None), logits)]


@pytest.mark.parametrize("name", NAMES)
def test_two_runs_of_the_library_differ_by_much_less(zoo: Zoo, name: str) -> None:
    """One text by itself and beside two copies: products of matrices of other shapes."""
    pair = zoo(name)
    texts = random_texts(pair.model, (14,))
    one = library_run(pair.eager, inputs_of(pair.model, texts))
    beside = library_run(pair.eager, inputs_of(pair.model, texts * 3))
    apart = [float(np.abs(a[0] - b[0]).max()) for a, b in zip(one, beside, strict=True)]
    assert max(apart[:-1]) * MARGIN < MODEL
    assert apart[-1] * MARGIN < MODEL_NATS


@pytest.mark.parametrize("name", NAMES)
def test_a_hidden_key_more_or_less_is_far_above(zoo: Zoo, name: str) -> None:
    """Weights that leave one visible key out, or spread over one hidden key."""
    pair = zoo(name)
    inputs = inputs_of(pair.model, random_texts(pair.model, (14,)))
    for weights in library_run(pair.eager, inputs)[:-1]:
        without = weights.copy()
        without[..., 0] = 0.0
        without /= np.maximum(without.sum(-1, keepdims=True), 1e-30)
        assert np.abs(without - weights)[..., 1:, :].max() > FAULT * MODEL


def test_heads_in_another_order_are_far_above(zoo: Zoo) -> None:
    from attnviz.captures.forward_pass import capture_ids

    model = zoo("gpt2").model
    weights = all_weights(capture_ids(model, random_texts(model, (14,)))[0]["self"])
    assert np.abs(weights - weights[:, [1, 0, 2, 3]]).max() > FAULT * MODEL
