"""Decoders that differ in their encoding alone: the model, its losses, the record."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers.models.bloom.modeling_bloom import build_alibi_tensor

from attnviz.lessons.positions.beyond_training import (
    RECORD,
    TOGETHER,
    beyond_scene,
    length_record,
    position_losses,
)
from attnviz.lessons.positions.position_encodings import ENCODINGS, rotated, sinusoids
from training.corpus import Corpus
from training.loop import denser_early
from training.record_lengths import (
    TIMES,
    Schedule,
    even_rows,
    frequency_loss,
    losses_by_position,
    record,
    story_bytes,
)
from training.tiny_decoder import SPREAD, DecoderSize, TinyDecoder

SIZE = DecoderSize(length=8, width=16, heads=2, layers=2, buckets=4)
SCHEDULE = Schedule(steps=60, rows=8, measured=6, measured_along=3, records=3)
FLOAT = 2e-5


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    (tmp_path / "lm-mix").mkdir()
    for split, text in (("train", "the cat sat on the mat. " * 200), ("valid", "the mat. " * 40)):
        (tmp_path / f"lm-mix/{split}.txt").write_text(text, "utf-8")
    return Corpus(tmp_path)


def slow_logits(model: TinyDecoder, ids: list[int]) -> torch.Tensor:
    """Compute the logits with loops over layers, heads, queries and keys, in double precision."""
    size, part = model.size, {name: one.double() for name, one in model.state_dict().items()}
    states = part["embed_tokens.weight"][ids]
    places = torch.arange(len(ids))
    if model.encoding == "learned":
        states = states + part["wpe.weight"][: len(ids)]
    if model.encoding == "sinusoidal":
        states = states + SPREAD * math.sqrt(2) * sinusoids(places, size.width)
    slopes = build_alibi_tensor(torch.ones(1, 2), size.heads, torch.float64)[:, 0, 1]
    width = size.width // size.heads

    def norm(vectors, name):
        centred = vectors - vectors.mean(-1, keepdim=True)
        scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * part[f"{name}.weight"] + part[f"{name}.bias"]

    for layer in range(size.layers):
        name = f"layers.{layer}"
        normed = norm(states, f"{name}.before_attention")
        query, key, value = (
            normed @ part[f"{name}.{one}.weight"].T for one in ("query", "key", "value")
        )
        mixture = torch.zeros_like(states)
        for head in range(size.heads):
            cut = slice(head * width, (head + 1) * width)
            q, k = query[:, cut], key[:, cut]
            if model.encoding == "RoPE":
                q, k = rotated(q, places), rotated(k, places)
            for at in range(len(ids)):
                scores = []
                for seen in range(at + 1):
                    score = float(q[at] @ k[seen]) / math.sqrt(width)
                    if model.encoding == "ALiBi":
                        score -= float(slopes[head]) * (at - seen)
                    if model.encoding == "T5 buckets":
                        table = part["relative_attention_bias.weight"]
                        score += float(table[bucket(at - seen, size), head])
                    scores.append(score)
                weights = np.exp(np.array(scores) - max(scores))
                for seen, weight in enumerate(weights / weights.sum()):
                    mixture[at, cut] += weight * value[seen, cut]
        states = states + mixture @ part[f"{name}.output.weight"].T
        inner = norm(states, f"{name}.before_mlp") @ part[f"{name}.up.weight"].T
        inner = torch.nn.functional.gelu(inner + part[f"{name}.up.bias"])
        states = states + inner @ part[f"{name}.down.weight"].T + part[f"{name}.down.bias"]
    return norm(states, "norm") @ part["lm_head.weight"].T


def bucket(apart: int, size: DecoderSize) -> int:
    """Return T5's bucket of a distance to an earlier token (Raffel et al. 2020)."""
    exact = size.buckets // 2
    if apart < exact:
        return apart
    share = math.log(apart / exact) / math.log(size.farthest_bucket / exact)
    return min(size.buckets - 1, exact + int(share * (size.buckets - exact)))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_losses_by_position_are_those_of_a_slow_loop(encoding: str) -> None:
    model = TinyDecoder(encoding, SIZE, seed=1)
    with torch.no_grad():
        for name, one in model.named_parameters():
            if name not in ("embed_tokens.weight", "wpe.weight"):
                one.copy_(one + 0.3 * torch.randn(one.shape))
    if encoding == "learned":
        model = model.extended(16, 0)
    rows = torch.randint(0, 256, (3, 13), generator=torch.Generator().manual_seed(0))
    expected = np.zeros(12)
    for row in rows.tolist():
        logits = slow_logits(model, row[:-1])
        for at in range(12):
            expected[at] -= float(logits[at].log_softmax(0)[row[at + 1]]) / len(rows)
    assert losses_by_position(model, rows) == pytest.approx(expected, abs=FLOAT * 10)


def test_decoders_are_equal_but_for_the_encoding() -> None:
    models = [TinyDecoder(encoding, SIZE, seed=3) for encoding in ENCODINGS]
    first = dict(models[0].named_parameters())
    for model in models[1:]:
        others = dict(model.named_parameters())
        assert all(torch.equal(one, others[name]) for name, one in first.items())
        assert len(others) - len(first) == (model.encoding in ("learned", "T5 buckets"))
    with pytest.raises(ValueError, match="possible are none, sinusoidal"):
        TinyDecoder("relative", SIZE, seed=0)
    with pytest.raises(IndexError):
        models[2](torch.zeros(1, SIZE.length + 1, dtype=torch.long))


def test_a_longer_table_changes_nothing_within_the_trained_length() -> None:
    model = TinyDecoder("learned", SIZE, seed=0)
    ids = torch.arange(SIZE.length)[None]
    assert torch.equal(model.extended(20, 0)(ids), model(ids))
    assert model.extended(20, 0)(torch.zeros(1, 20, dtype=torch.long)).shape == (1, 20, 256)


def test_a_small_recording_learns_and_goes_on_where_it_stopped(
    corpus: Corpus, tmp_path: Path
) -> None:
    file = tmp_path / "record.json"
    record(file, corpus, [0], encodings=["learned", "ALiBi"], size=SIZE, schedule=SCHEDULE)
    first = json.loads(file.read_text("utf-8"))
    assert first["steps"] == denser_early(60, 3) == [0, 15, 60]
    for runs in first["runs"].values():
        along = runs["0"]["along"]
        assert along[-1][0] < along[0][0] - 0.5  # it learned
    assert len(first["runs"]["learned"]["0"]["losses"]) == SIZE.length
    assert len(first["runs"]["learned"]["0"]["longer_table"]) == TIMES * SIZE.length
    assert len(first["runs"]["ALiBi"]["0"]["losses"]) == TIMES * SIZE.length
    record(file, corpus, [0, 1], encodings=["ALiBi"], size=SIZE, schedule=SCHEDULE)
    second = json.loads(file.read_text("utf-8"))
    assert second["runs"]["ALiBi"]["0"] == first["runs"]["ALiBi"]["0"]
    assert second["runs"]["ALiBi"]["1"] != first["runs"]["ALiBi"]["0"]
    with pytest.raises(ValueError, match="another recording"):
        record(file, corpus, [0], size=SIZE, schedule=Schedule(steps=61))


def test_the_loss_of_frequencies_alone(corpus: Corpus) -> None:
    train = story_bytes(corpus, "train")
    rows = even_rows(story_bytes(corpus, "valid"), 4, 10)
    total = 0.0
    for row in rows.tolist():
        for byte in row[1:]:
            total -= math.log((train.tolist().count(byte) + 1) / (len(train) + 256))
    assert frequency_loss(train, rows) == pytest.approx(total / 40)


def test_the_shipped_record_is_complete_and_every_decoder_learned() -> None:
    shipped = length_record()
    trained = shipped["size"]["length"]
    assert shipped["size"] == vars(DecoderSize()) and shipped["schedule"] == vars(Schedule())
    assert RECORD.stat().st_size < 200_000
    assert set(shipped["runs"]) == set(ENCODINGS)
    assert len({tuple(runs) for runs in shipped["runs"].values()}) == 1  # the same seeds
    for encoding, runs in shipped["runs"].items():
        for run in runs.values():
            losses = np.array(run["losses"])
            assert len(losses) == (trained if encoding == "learned" else TIMES * trained)
            assert (losses[:trained] < shipped["frequency_loss"]).all()
            assert losses[trained // 2 : trained].mean() < shipped["frequency_loss"] / 1.8
            assert run["along"][0][0] == pytest.approx(math.log(256), abs=0.2)  # untrained
            assert len(run["along"]) == len(shipped["steps"])
            # The last record along the training is of fewer rows than the losses by position.
            assert run["along"][-1][0] == pytest.approx(losses[:trained].mean(), abs=0.15)
            if encoding == "learned":
                longer = np.array(run["longer_table"])
                assert np.abs(longer[:trained] - losses).max() <= 0.002


def test_the_scene_shows_means_of_the_record_and_what_its_words_say() -> None:
    scene, shipped = beyond_scene(), length_record()
    trained = shipped["size"]["length"]
    runs = shipped["runs"]
    for name, encoding in zip(
        ("none", "sinusoidal", "buckets", "rotation", "alibi"),
        ("none", "sinusoidal", "T5 buckets", "RoPE", "ALiBi"),
        strict=True,
    ):
        for at in (0, scene.places["last"], scene.places["twice"], scene.places["end"]):
            total = 0.0
            for run in runs[encoding].values():
                total += sum(run["losses"][TOGETHER * at : TOGETHER * (at + 1)])
            expected = total / TOGETHER / len(runs[encoding])
            assert scene.arrays[name][at] == pytest.approx(expected)
    assert np.isnan(scene.arrays["learned"][scene.places["last"] + 1 :]).all()
    assert scene.labels["positions"][scene.places["twice"]] == str(2 * trained)
    last, twice, end = (scene.places[name] for name in ("last", "twice", "end"))
    at_twice = {name: one[twice] for name, one in scene.arrays.items()}
    rise = {name: one[end] - one[last] for name, one in scene.arrays.items()}
    # The sentences of the step: ALiBi alone keeps its loss, T5 loses it slowly, sinusoids break.
    assert abs(rise["alibi"]) < 0.1 < rise["buckets"] < rise["none"]
    assert at_twice["alibi"] < at_twice["buckets"] < at_twice["rotation"] < at_twice["sinusoidal"]
    assert scene.arrays["sinusoidal"][last + 1] - scene.arrays["sinusoidal"][last] > 1
    assert at_twice["sinusoidal"] > scene.values["frequencies"]
    kept = int(scene.values["kept"]) // TOGETHER
    rotation = scene.arrays["rotation"]
    assert (rotation[last + 1 : last + 1 + kept] <= rotation[last] + 0.1).all()
    assert rotation[last + 1 + kept] > rotation[last] + 0.1


def test_the_page_about_the_record_has_its_numbers() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/recorded-trainings.md").read_text("utf-8")
    rows = re.findall(r"^\| (.+?) \| ([\d.]+) \| (\S+) \| (\S+) \| (\S+) \|$", page, flags=re.M)
    assert [row[0] for row in rows[1:]] == list(ENCODINGS)
    for encoding, *numbers in rows[1:]:
        losses = position_losses(encoding).mean(axis=0)
        for end, number in zip((64, 80, 128, 256), numbers, strict=True):
            mean = losses[end - 8 : end].mean()
            assert number == ("–" if np.isnan(mean) else f"{mean:.2f}"), (encoding, end)
    frequency = length_record()["frequency_loss"]
    assert f"{frequency:.2f} nats" in page
