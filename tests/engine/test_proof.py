"""`verify` accepts correct captures, and names the error of false ones."""

from __future__ import annotations

import copy
import dataclasses
import gc
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AttentionInterface, AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

import attnviz
from attnviz import Model
from attnviz.attention import AttentionStack, Vectors
from attnviz.attention.interface import attention
from attnviz.attention.kernel.blocks import Normalizer
from attnviz.captures.forward_pass import Capture, Encoded, capture_ids
from attnviz.errors import CaptureError, ModelNotSupported
from attnviz.models import instrument
from tests.zoo import EVERYTHING, Pair, eager_attentions, inputs_of, random_ids, random_texts

Zoo = Callable[[str], Pair]


def captured(model: Model, length: int = 12) -> Capture:
    return capture_ids(model, random_texts(model, (length,)))[0]


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_architecture_is_proved(zoo: Zoo, name: str) -> None:
    proof = attnviz.verify(captured(zoo(name).model))
    assert proof.holds, proof.broken
    assert proof.weights < 5e-5
    assert proof.logits < 1e-4
    assert proof.leak < 5e-5
    assert proof.row_sum < 5e-5
    assert proof.reconstruction < 1e-4


def with_vectors(capture: Capture, layer: int, **changes: object) -> Capture:
    """Return the capture with false vectors in one layer."""
    vectors = vectors_of(capture, layer)
    return with_layer(capture, layer, vectors=dataclasses.replace(vectors, **changes))  # type: ignore[arg-type]


def vectors_of(capture: Capture, layer: int) -> Vectors:
    vectors = capture["self"].layers[layer].vectors
    assert vectors is not None
    return vectors


def with_layer(capture: Capture, layer: int, **changes: object) -> Capture:
    """Return the capture with a false record of one layer."""
    stack = capture["self"]
    layers = list(stack.layers)
    layers[layer] = dataclasses.replace(layers[layer], **changes)  # type: ignore[arg-type]
    false = AttentionStack("self", stack.query_tokens, stack.key_tokens, tuple(layers))
    return dataclasses.replace(capture, stacks={"self": false})


def test_a_wrong_weight_is_found_and_its_head_named(gpt: Model) -> None:
    capture = captured(gpt)
    query = vectors_of(capture, 1).query.clone()
    query[2] += 0.5
    proof = attnviz.verify(with_vectors(capture, 1, query=query))
    assert not proof.holds
    assert proof.worst.label == "L1·H2"
    assert any("L1·H2" in sentence for sentence in proof.broken)


def test_weight_on_future_keys_is_found(gpt: Model) -> None:
    capture = captured(gpt)
    record = capture["self"].layers[0]
    full = dataclasses.replace(
        record.visibility, stop=torch.full_like(record.visibility.stop, record.visibility.n_keys)
    )
    proof = attnviz.verify(with_layer(capture, 0, visibility=full))
    assert proof.leak > 0.01
    assert not proof.holds


def test_a_mask_that_hides_too_much_is_found(bert: Model) -> None:
    capture = captured(bert)
    record = capture["self"].layers[0]
    less = dataclasses.replace(record.visibility, stop=record.visibility.stop - 2)
    proof = attnviz.verify(with_layer(capture, 0, visibility=less))
    assert proof.leak > 0.001
    assert not proof.holds


def test_rows_that_do_not_sum_to_one_are_found(gpt: Model) -> None:
    capture = captured(gpt)
    normalizer = vectors_of(capture, 2).normalizer
    false = Normalizer(normalizer.highest, normalizer.total * 1.001)
    proof = attnviz.verify(with_vectors(capture, 2, normalizer=false))
    assert proof.row_sum == pytest.approx(0.001, rel=0.1)
    assert not proof.holds


def test_values_of_another_layer_do_not_reconstruct_the_output(gpt: Model) -> None:
    capture = captured(gpt)
    value = vectors_of(capture, 1).value
    proof = attnviz.verify(with_vectors(capture, 1, value=value.flip(1)))
    assert proof.reconstruction > 0.01
    assert not proof.holds


def test_verifying_leaves_the_model_as_it_was(gpt: Model) -> None:
    before = captured(gpt)
    attnviz.verify(before)
    after = captured(gpt)
    assert gpt.network.config._attn_implementation == "attnviz"
    assert np.array_equal(before["self"].weights(0, 0), after["self"].weights(0, 0))


def test_statistics_alone_cannot_be_verified(gpt: Model) -> None:
    ids = random_ids(gpt, 6)
    capture = capture_ids(gpt, [Encoded(ids)], keep="statistics")[0]
    with pytest.raises(CaptureError, match="statistics only"):
        attnviz.verify(capture)


def test_loading_refuses_a_model_that_cannot_be_proved(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = zoo("gpt2").folder
    monkeypatch.setattr(
        "attnviz.attention.interface.split_mask",
        lambda mask, batch, queries, keys, device: (
            __import__(
                "attnviz.attention.masks.visibility", fromlist=["Visibility"]
            ).Visibility.full(batch, queries, keys, device),
            None,
        ),
    )
    with pytest.raises(ModelNotSupported, match="cannot prove its numbers"):
        attnviz.load(str(folder))


@pytest.mark.parametrize("name", ["gpt2", "bert", "albert", "t5", "gpt_oss", "whisper", "clip"])
def test_the_proof_is_that_of_all_weights_at_once(zoo: Zoo, name: str) -> None:
    pair = zoo(name)
    texts = random_texts(pair.model, (14,))
    capture = capture_ids(pair.model, texts)[0]
    proof = attnviz.verify(capture)
    theirs = eager_attentions(pair.eager, **inputs_of(pair.model, texts))
    apart = {
        (kind, layer, head): np.abs(stack.weights(layer, head) - weights).max()
        for kind, stack in capture.stacks.items()
        for layer, table in enumerate(theirs[kind])
        for head, weights in enumerate(table[0].numpy())
    }
    assert proof.weights == max(apart.values())
    worst = (proof.worst.kind, proof.worst.layer, proof.worst.head)
    assert apart[worst] == proof.weights or proof.weights == 0
    sums = [
        np.abs(stack.weights(layer, head).sum(-1, dtype=np.float64) - 1).max()
        for stack in capture.stacks.values()
        for layer, head in np.ndindex(stack.shape[:2])
    ]
    assert proof.row_sum == max(sums) or name == "gpt_oss"  # sinks have the rest


def test_the_library_s_weights_of_one_layer_exist_at_a_time(
    gpt: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.gpt2 import modeling_gpt2

    theirs = modeling_gpt2.eager_attention_forward
    alive: list[weakref.ref[torch.Tensor]] = []
    together = []

    def watched(*args: object, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
        together.append(sum(one() is not None for one in alive))
        output, weights = theirs(*args, **options)
        alive.append(weakref.ref(weights))
        return output, weights

    monkeypatch.setattr(modeling_gpt2, "eager_attention_forward", watched)
    capture = captured(gpt)
    attnviz.verify(capture)
    assert together == [0, 0, 0]  # of the layers before, when each of three is computed
    together.clear(), alive.clear()
    twin = copy.deepcopy(gpt.network)
    twin.set_attn_implementation("eager")
    with torch.inference_mode():
        kept = twin(torch.tensor([capture.inputs.ids]), output_attentions=True)
    assert together == [0, 1, 2]  # the library's return value would not
    assert kept.attentions is not None


def test_a_released_model_is_loaded_again_if_it_came_from_a_folder(
    zoo: Zoo, tmp_path: Path
) -> None:
    folder = shutil.copytree(zoo("gpt2").folder, tmp_path / "gpt2")
    first = attnviz.load(str(folder))
    capture = captured(first)
    assert attnviz.verify(capture, model=first).holds
    with pytest.raises(CaptureError, match="is to be compared with"):
        attnviz.verify(capture, model=zoo("bert").model)
    del first
    gc.collect()
    assert attnviz.verify(capture).holds
    network = GPT2LMHeadModel.from_pretrained(folder)
    with torch.no_grad():
        network.transformer.h[0].attn.c_attn.weight.add_(1.0)
    network.save_pretrained(folder)
    with pytest.raises(CaptureError, match="has changed since this capture"):
        attnviz.verify(capture)


def test_a_released_object_cannot_be_compared(zoo: Zoo) -> None:
    network = GPT2LMHeadModel.from_pretrained(zoo("gpt2").folder)
    model = instrument(network, zoo("gpt2").model.tokenizer)
    capture = captured(model)
    del model
    gc.collect()
    with pytest.raises(CaptureError, match="no longer in memory"):
        attnviz.verify(capture)


def test_layers_without_weights_are_not_passed_over(
    gpt: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = captured(gpt)
    block = type(gpt.network.transformer.h[1].attn)
    forward = block.forward

    def silent(self: torch.nn.Module, *args: object, **options: object) -> object:
        output, weights = forward(self, *args, **options)
        return output, None if self.layer_idx == 1 else weights

    monkeypatch.setattr(block, "forward", silent)
    with pytest.raises(ModelNotSupported, match="weights of 2 layers of self attention"):
        attnviz.verify(capture)


def test_drift_of_a_deep_and_sharp_model_is_accepted() -> None:
    """Rounding errors grow through sharp layers, although each layer is accurate."""
    torch.manual_seed(0)
    network = GPT2LMHeadModel(
        GPT2Config(vocab_size=200, n_embd=64, n_head=4, n_layer=10, n_positions=64)
    )
    with torch.no_grad():
        for name, weights in network.named_parameters():
            if weights.dim() == 2:
                weights.normal_(0, (5.0 if "c_attn" in name else 1.0) / weights.shape[0] ** 0.5)
    model = attnviz.instrument(network)
    text = Encoded(tuple(torch.randint(0, 200, (60,)).tolist()))
    one = capture_ids(model, [text])[0]
    eager = copy.deepcopy(network)
    eager.set_attn_implementation("eager")
    theirs = eager(torch.tensor([text.ids]), output_attentions=True).attentions
    apart = max(
        np.abs(one["self"].weights(layer, head) - theirs[layer][0, head].detach().numpy()).max()
        for layer in range(10)
        for head in range(4)
    )
    proof = attnviz.verify(one)
    assert apart > proof.weights_bound > proof.weights
    assert proof.holds, proof.broken


def test_a_bias_added_in_sixteen_bits_is_not_held_against_a_model(
    zoo: Callable[[str], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library rounds the sum of a score and T5's bias, which the 16-bit bound accepts."""
    model = attnviz.models.load(str(zoo("t5").folder), dtype="bfloat16")
    capture = attnviz.capture(model, "The cat sat on the mat.", target="The cat sat.")
    proof = attnviz.verify(capture)
    monkeypatch.setattr("attnviz.attention.reference.eager.SHORT", ())
    assert proof.weights < attnviz.verify(capture).weights
    assert proof.holds, proof.broken


def test_a_mask_that_the_library_does_not_have_is_found(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers compared on equal inputs use the mask given to them: the eager run must judge it."""
    pair = zoo("gpt2")
    network = AutoModelForCausalLM.from_pretrained(pair.folder, dtype=torch.float32)
    AttentionInterface.register("attnviz_without_mask", attention)
    monkeypatch.setattr("attnviz.attention.trial_run.NAME", "attnviz_without_mask")
    leaky = instrument(network, pair.model.tokenizer)
    proof = attnviz.verify(captured(leaky))
    assert proof.weights <= proof.weights_bound
    assert proof.leak > 0.1
    assert not proof.holds
