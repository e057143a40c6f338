"""Layers without attention are found and named for what they have instead."""

from __future__ import annotations

import pytest

import attnviz
from benchmarks.architectures import built
from tests.vocabularies import vocabulary

INSTEAD = {
    "jamba": "state space (Mamba)",
    "bamba": "state space (Mamba)",
    "granitemoehybrid": "state space (Mamba)",
    "lfm2": "convolution",
    "qwen3_next": "linear attention",
}


@pytest.mark.parametrize("model_type", INSTEAD)
def test_a_hybrid_names_its_other_layers(model_type: str) -> None:
    network = built(model_type, "causal", vocabulary("bpe"))
    info = attnviz.instrument(network).info
    layers = range(network.config.num_hidden_layers)
    assert sorted([*info.layers["self"], *info.other_layers]) == list(layers)
    assert set(info.other_layers.values()) <= {INSTEAD[model_type]}
    types = network.config.layer_types
    attending = [layer for layer in layers if types[layer] == "full_attention"]
    assert list(info.layers["self"]) == attending


@pytest.mark.parametrize("name", ["llama", "albert", "gemma2"])
def test_a_model_with_attention_everywhere_has_none(name: str, zoo) -> None:
    assert zoo(name).model.info.other_layers == {}


def test_an_encoder_decoder_has_none() -> None:
    assert attnviz.load("t5-classroom", device="cpu").info.other_layers == {}
