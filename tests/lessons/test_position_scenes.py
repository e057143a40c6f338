"""Numbers of the lesson about positions against the library and against slow loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

import attnviz
from attnviz.lessons import scenes_of
from attnviz.lessons.positions.position_encodings import (
    ENCODINGS,
    alibi_slopes,
    attention_output,
    bucket_bias,
    rotated,
    sinusoids,
)
from attnviz.lessons.positions.query_key_vectors import learned_vectors, rotation_vectors
from attnviz.lessons.positions.twice_as_far import learned_effects
from attnviz.models import twin
from tests.lessons.given import given, lesson, load

FLOAT = 2e-5
"""Bound for results of float32 that are of the size of 1 to 10."""

IDS = [125, 391, 655, 707, 191, 1292, 37, 2175]


@pytest.fixture(scope="module")
def scenes():
    one = lesson("positions")
    return scenes_of(one, given(one))


@pytest.mark.parametrize("encoding", ["none", "learned"])
def test_the_layer_is_that_of_the_library(encoding: str) -> None:
    network = twin(load("bert-classroom").network)
    network.set_attn_implementation("eager")
    bert = network.bert
    table = bert.embeddings.position_embeddings
    if encoding == "none":
        table.weight = torch.nn.Parameter(torch.zeros_like(table.weight))
    attention = bert.encoder.layer[0].attention
    with torch.inference_mode():
        vectors = bert.embeddings(torch.tensor([IDS]))
        expected = attention.output.dense(attention.self(vectors)[0])[0]
    bias = bucket_bias(load("t5-classroom").network, len(IDS))
    got = attention_output(load("bert-classroom").network, IDS, encoding, causal=False, bias=bias)
    assert (got - expected).abs().max() < FLOAT


def test_sinusoids_against_a_loop() -> None:
    got = sinusoids(torch.arange(5), 8)
    for place in range(5):
        for at in range(4):
            angle = place / 10_000 ** (2 * at / 8)
            assert float(got[place, 2 * at]) == pytest.approx(math.sin(angle), abs=1e-12)
            assert float(got[place, 2 * at + 1]) == pytest.approx(math.cos(angle), abs=1e-12)


def test_rotation_is_that_of_the_library() -> None:
    network = load("llama-classroom").network
    vectors = torch.randn(1, 1, 6, 32, generator=torch.Generator().manual_seed(0))
    places = torch.tensor([[0, 3, 7, 40, 200, 1000]])
    cosine, sine = network.model.rotary_emb(vectors, places)
    expected, _ = apply_rotary_pos_emb(vectors, vectors, cosine, sine)
    assert (rotated(vectors[0, 0], places[0]) - expected[0, 0]).abs().max() < 5e-4  # large angles


def test_slopes_are_those_of_the_library() -> None:
    alibi = build_alibi_tensor(torch.ones(1, 5), 8, torch.float32)  # [head, 1, key]
    expected = -alibi_slopes(8)[:, None] * (4 - torch.arange(5))
    got = alibi[:, 0] - alibi[:, 0, 4:]
    assert (got - expected).abs().max() < 1e-6


def test_bucket_bias_is_in_the_scores_of_the_model() -> None:
    model = load("t5-classroom")
    stack = attnviz.capture(model, "The little girl saw a big black dog.", target=".")["encoder"]
    bias = bucket_bias(model.network, stack.shape[2]).numpy()
    for head in range(8):
        plain = stack.query(0, head) @ stack.key(0, head).T
        assert np.abs(stack.scores(0, head) - plain - bias[head]).max() < 1e-3  # scores near 100


def test_without_positions_an_encoder_permutes_and_a_decoder_does_not(scenes) -> None:
    changes = scenes["shuffle"].arrays["changes"]
    assert changes.shape[0] == len(ENCODINGS)
    assert changes[0, :, 0].max() < 1e-9
    assert changes[0, :, 1].min() > 0.01
    assert changes[1:].min() > 1e-3


def test_whole_models_without_positions_agree() -> None:
    order = [3, 0, 5, 1, 7, 2, 4, 6]
    for name, permutes in (("bert-classroom", True), ("gpt-classroom", False)):
        network = twin(load(name).network)
        network.set_attn_implementation("eager")
        body = network.base_model
        table = body.embeddings.position_embeddings if permutes else body.wpe
        table.weight = torch.nn.Parameter(torch.zeros_like(table.weight))
        with torch.inference_mode():
            before = body(torch.tensor([IDS])).last_hidden_state[0]
            moved = body(torch.tensor([[IDS[at] for at in order]])).last_hidden_state[0]
        apart = (moved - before[order]).norm(dim=1) / before[order].norm(dim=1)
        assert (apart.max() < 1e-4) if permutes else (apart.min() > 1e-2)


def test_curves_of_distance(scenes) -> None:
    effects = scenes["distance"].arrays["effects"]
    assert (effects[:, 0] == 0).all() and (effects[0] == 0).all()
    assert effects[5] == pytest.approx(-np.arange(33) / 4)
    waves = [
        sum(math.cos(d / 10_000 ** (2 * at / 256)) for at in range(128)) / 16 - 8 for d in range(33)
    ]
    assert effects[1] == pytest.approx(waves, abs=1e-9)
    stack = attnviz.capture(load("t5-classroom"), "the " * 40, target=".")["encoder"]
    row = stack.scores(0, 0)[35] - stack.query(0, 0)[35] @ stack.key(0, 0).T
    expected = [row[35 - d] - row[35] for d in range(33)]
    assert effects[3] == pytest.approx(expected, abs=1e-3)


def test_learned_queries_and_keys_are_those_of_a_capture() -> None:
    model = load("gpt-classroom")
    ids = model.tokenizer("The little girl saw", add_special_tokens=False)["input_ids"]
    stack = attnviz.capture(model, "The little girl saw", begin=False)["self"]
    query, key = learned_vectors(model, ids, 7)
    assert np.abs(stack.query(0, 7) - query.numpy()).max() < FLOAT
    assert np.abs(stack.key(0, 7) - key.numpy()).max() < FLOAT


def test_turned_queries_and_keys_are_those_of_a_capture() -> None:
    model = load("llama-classroom")
    stack = attnviz.capture(model, "The little girl saw", begin=False)["self"]
    query, key = rotation_vectors(model, "The little girl saw")
    places = torch.arange(len(query))
    scores = rotated(query, places) @ rotated(key, places).T / math.sqrt(32)
    shown = stack.scores(0, 1)
    seen = np.isfinite(shown)
    assert np.abs(shown - scores.numpy())[seen].max() < FLOAT


def test_sliding_leaves_the_rotated_score_and_moves_the_learned_one(scenes) -> None:
    scene = scenes["slide"]
    assert np.ptp(scene.arrays["rope"]) < 1e-9
    assert np.ptp(scene.arrays["learned"]) > 1
    assert scene.values["query_word"] == "dog"


def test_half_of_the_weight_under_a_slope(scenes) -> None:
    for head in range(8):
        powers = [math.exp(-at * 2.0 ** -(head + 1)) for at in range(512)]
        total, count = 0.0, 0
        while total < sum(powers) / 2:
            total += powers[count]
            count += 1
        assert scenes["slopes"].values["half"][head] == count
        drawn = scenes["slopes"].arrays["sums"][head]
        assert len(drawn) > count  # the half is in the picture
        expected = np.cumsum(powers)[: len(drawn)] / sum(powers)
        assert np.abs(drawn - expected).max() < 1e-12


def test_effects_at_a_distance_and_at_twice_the_distance(scenes) -> None:
    shown = scenes["twice"].arrays["effects"]
    distances = (16, 32, 64, 128, 255)
    bias = load("t5-classroom").network.encoder.block[0].layer[0].SelfAttention
    network = load("gpt-classroom").network
    for row, away in enumerate(distances):
        for column, far in enumerate((away, 2 * away)):
            learned, waves, buckets, turned, slope = shown[row, :, column]
            assert slope == -far / 4
            expected = sum(math.cos(far / 10_000 ** (2 * at / 256)) for at in range(128)) / 16 - 8
            assert waves == pytest.approx(expected, abs=1e-9)
            with torch.inference_mode():
                table = bias.compute_bias(far + 1, far + 1)[0, 0]
            assert buckets == pytest.approx(float(table[-1, 0] - table[0, 0]), abs=1e-6)
            query = rotation_vectors(load("llama-classroom"), "the")[0][0]
            angles = far / 10_000 ** (np.arange(16) / 16)
            pairs = (query[:16] ** 2 + query[16:] ** 2).numpy()
            expected = float((pairs * (np.cos(angles) - 1)).sum()) / math.sqrt(32)
            assert turned == pytest.approx(expected, abs=1e-9)
            assert math.isnan(learned) == (far >= network.config.n_positions)
    assert shown[3, 2, 0] == shown[4, 2, 0] == shown[4, 2, 1]  # one bucket for all that is far
    with pytest.raises(IndexError):
        network(torch.zeros(1, 257, dtype=torch.long))


def test_learned_effects_are_scores_of_the_library() -> None:
    model = load("gpt-classroom")
    ids = model.tokenizer(" the", add_special_tokens=False)["input_ids"] * 256
    seen = {}
    network = twin(model.network)
    network.transformer.h[0].attn.c_attn.register_forward_hook(
        lambda _, __, out: seen.update(query=out[0, :, 224:256], key=out[0, :, 480:512])
    )
    with torch.inference_mode():
        network(torch.tensor([ids]))
    scores = (seen["query"] @ seen["key"].T).numpy() / math.sqrt(32)
    shown = learned_effects(model, torch.tensor([1, 16, 255, 256]))
    itself = np.mean([scores[at, at] for at in range(256)])
    for place, away in enumerate((1, 16, 255)):
        mean = np.mean([scores[at, at - away] for at in range(away, 256)])
        assert float(shown[place]) == pytest.approx(mean - itself, abs=1e-3)
    assert math.isnan(shown[3])


def test_the_window_of_training_gives_the_loss_of_the_model(scenes) -> None:
    losses = scenes["longer"].arrays["losses"]
    from attnviz.experiments.text_sets import bundled

    model = load("llama-classroom")
    text = " ".join(one.source for one in bundled("decoder").texts)
    capture = attnviz.capture(model, text, cut=True, limit=1024, begin=True)
    late = capture.losses[511:1023]
    assert float(np.nanmean(late)) == pytest.approx(float(losses[0]), abs=0.02)
    assert losses[1] - losses[0] < 0.05 < 0.3 < losses[-1] - losses[0]
