"""Masks of causal models: later tokens change no earlier row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import AttentionInterface, AutoModelForCausalLM

from attnviz import Model
from attnviz.attention.interface import NAME, attention
from attnviz.captures.forward_pass import Encoded, capture_ids
from attnviz.models import instrument
from tests.bounds import MODEL
from tests.zoo import ARCHITECTURES, Pair, all_weights, random_ids, random_texts

causal_architectures = pytest.mark.parametrize(
    "name", [name for name, what in ARCHITECTURES.items() if what.family != "encoder"]
)


def weights_of(model: Model, text: Encoded) -> np.ndarray:
    stacks = capture_ids(model, [text], predict=False)[0].stacks
    return all_weights(stacks["decoder" if "decoder" in stacks else "self"])


def change_in_earlier_rows(model: Model, at: int, length: int = 14) -> float:
    """Return the largest change of the rows before `at` when that token is replaced."""
    ids = random_ids(model, length)
    other = (*ids[:at], ids[at] + 1 if ids[at] == 5 else 5, *ids[at + 1 :])
    both = [
        Encoded(ids, target=one) if model.info.family == "encoder-decoder" else Encoded(one)
        for one in (ids, other)
    ]
    before, after = (weights_of(model, one)[:, :, :at] for one in both)
    return float(np.abs(before - after).max())


@causal_architectures
@pytest.mark.parametrize("at", [1, 7, 13])
def test_a_changed_future_changes_no_earlier_row(
    zoo: Callable[[str], Pair], name: str, at: int
) -> None:
    assert change_in_earlier_rows(zoo(name).model, at) <= MODEL


@causal_architectures
def test_a_changed_token_does_change_its_own_row(zoo: Callable[[str], Pair], name: str) -> None:
    model = zoo(name).model
    ids = random_ids(model, 14)
    other = (*ids[:7], ids[7] + 1 if ids[7] == 5 else 5, *ids[8:])
    both = model.info.family == "encoder-decoder"
    one, two = (
        weights_of(model, Encoded(ids, target=text) if both else Encoded(text))
        for text in (ids, other)
    )
    assert np.abs(one[:, :, 7] - two[:, :, 7]).max() > 1e-3


@causal_architectures
def test_the_upper_triangle_is_exactly_zero(zoo: Callable[[str], Pair], name: str) -> None:
    model = zoo(name).model
    weights = weights_of(model, random_texts(model, (40,))[0])
    n = weights.shape[-1]
    assert n > 10
    assert not weights[..., np.triu(np.ones((n, n), bool), 1)].any()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_rows_sum_to_one(zoo: Callable[[str], Pair], name: str) -> None:
    model = zoo(name).model
    for capture in capture_ids(model, random_texts(model, (40, 7)), predict=False):
        for stack in capture.stacks.values():
            sums = all_weights(stack).sum(-1)
            assert (all_weights(stack) >= 0).all()
            assert sums.max() <= 1 + MODEL
            if name == "gpt_oss":  # a learned sink has the rest
                assert sums.min() < 0.99
            else:
                assert sums.min() >= 1 - MODEL


@pytest.mark.parametrize("name", ["gpt2", "mixtral"])
def test_attention_registered_without_its_mask_sees_the_future(
    zoo: Callable[[str], Pair], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Without the mask function the tests above fail."""
    pair = zoo(name)
    network = AutoModelForCausalLM.from_pretrained(pair.folder, dtype=torch.float32)
    AttentionInterface.register("attnviz_without_mask", attention)
    monkeypatch.setattr("attnviz.attention.trial_run.NAME", "attnviz_without_mask")
    leaky = instrument(network, pair.model.tokenizer)
    assert network.config._attn_implementation != NAME
    assert change_in_earlier_rows(leaky, 7) > 100 * MODEL
    weights = weights_of(leaky, random_texts(leaky, (40,))[0])
    assert weights[..., np.triu(np.ones((40, 40), bool), 1)].any()
