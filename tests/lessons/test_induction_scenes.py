"""Numbers of the induction lab against the library's eager attention and slow loops."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack

import numpy as np
import pytest
import torch

from attnviz.errors import InputError
from attnviz.lessons import scenes_of
from attnviz.lessons.induction_scenes import PERIOD, SEQUENCES, training_record
from tests.lessons.given import eager as eager_network
from tests.lessons.given import given, lesson, load


@pytest.fixture(scope="module")
def scenes():
    one = lesson("induction")
    return scenes_of(one, given(one))


@pytest.fixture(scope="module")
def sequences() -> torch.Tensor:
    """Draw the random tokens of the lesson again: the begin token and two copies."""
    tokenizer = load("gpt-classroom").tokenizer
    ordinary = [at for at in range(len(tokenizer)) if at not in set(tokenizer.all_special_ids)]
    random = np.random.default_rng(0)
    copies = [random.choice(ordinary, PERIOD).tolist() for _ in range(SEQUENCES)]
    return torch.tensor([[tokenizer.bos_token_id, *copy, *copy] for copy in copies])


def eager(ids: torch.Tensor, off: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the library's weights [layer, text, head, query, key] and the losses [text, token].

    Heads are switched off by zeroing their part of what the output projection reads.
    """
    network = load("gpt-classroom").network
    before = network.config._attn_implementation
    network.set_attn_implementation("eager")

    def without(heads: list[int]):
        def hook(_, inputs):
            changed = inputs[0].clone()
            for head in heads:
                changed[..., 32 * head : 32 * (head + 1)] = 0
            return (changed,)

        return hook

    try:
        with ExitStack() as stack, torch.inference_mode():
            for layer, block in enumerate(network.transformer.h):
                heads = [head for at, head in off if at == layer]
                handle = block.attn.c_proj.register_forward_pre_hook(without(heads))
                stack.callback(handle.remove)
            out = network(ids, output_attentions=True)
    finally:
        network.set_attn_implementation(before)
    losses = torch.nn.functional.cross_entropy(
        out.logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none"
    )
    return torch.stack(out.attentions).numpy(), losses.numpy()


def induction_score(weights: np.ndarray, ids: np.ndarray) -> float:
    """Return the mean weight on followers of earlier copies, over the second copy; a slow loop."""
    total = []
    for text, row in enumerate(ids):
        for query in range(1 + PERIOD, len(row)):
            weight = 0.0
            for key in range(query):
                if row[key] == row[query]:
                    weight += weights[text, query, key + 1]
            total.append(weight)
    return float(np.mean(total))


def gain(losses: np.ndarray) -> float:
    """Return the loss of the first copy minus that of the second, without their first tokens."""
    return float(losses[:, 1:PERIOD].mean() - losses[:, PERIOD + 1 :].mean())


def parsed(label: str) -> tuple[int, int]:
    layer, head = label.split("·")
    return int(layer[1:]), int(head[1:])


def test_the_heads_and_their_scores(scenes, sequences) -> None:
    scene = scenes["find"]
    assert (scene.values["previous"], scene.values["best"]) == ("L0·H7", "L1·H0")
    assert scene.values["stays"] == "L0·H1"
    weights, losses = eager(sequences, [])
    ids = sequences.numpy()
    for label, shown in zip(scene.labels["heads"], scene.arrays["induction"], strict=True):
        layer, head = parsed(label)
        assert shown == pytest.approx(induction_score(weights[layer][:, head], ids), abs=1e-3)
    previous = [weights[0][text, 7, at, at - 1] for text in range(4) for at in range(26, 51)]
    assert scene.values["best_previous"] == pytest.approx(np.mean(previous), abs=1e-4)
    shown = np.nan_to_num(scene.arrays["maps"][8])
    assert np.abs(shown - weights[1][0, 0]).max() < 1e-4
    assert scene.values["gain"] == pytest.approx(gain(losses), abs=1e-3)


def test_without_a_head_the_score_and_the_gain_fall(scenes, sequences) -> None:
    scene = scenes["depends"]
    ids = sequences.numpy()
    finders = [parsed(label) for label in scene.labels["finders"]]
    assert len(finders) == 6
    for frame, off in enumerate([[], [(0, 7)], [(0, 1)], [(0, 0)]]):
        weights, losses = eager(sequences, off)
        for place, (layer, head) in enumerate(finders):
            expected = induction_score(weights[layer][:, head], ids)
            assert scene.arrays["induction"][frame, place] == pytest.approx(expected, abs=1e-3)
        copies = scenes["cost"].arrays["losses"][frame]
        assert copies[0] == pytest.approx(losses[:, 1:PERIOD].mean(), abs=1e-3)
        assert copies[1] == pytest.approx(losses[:, PERIOD + 1 :].mean(), abs=1e-3)
        assert scenes["cost"].values["gains"][frame] == pytest.approx(gain(losses), abs=1e-3)
    assert scene.arrays["induction"][1].max() < 0.1 < 0.6 < scene.arrays["induction"][0].min()


def test_removing_the_induction_heads(scenes, sequences) -> None:
    order = [parsed(label) for label in scenes["depends"].labels["finders"]]
    for place, count in enumerate((0, 1, 3, 6)):
        _, losses = eager(sequences, order[:count])
        assert scenes["backup"].arrays["gains"][0, place] == pytest.approx(gain(losses), abs=2e-3)
    _, losses = eager(sequences, order[-3:])
    assert scenes["backup"].arrays["gains"][1, 2] == pytest.approx(gain(losses), abs=2e-3)


def test_with_one_induction_head_no_more_are_removed() -> None:
    one = lesson("induction")
    text = "one two three four five six seven eight"
    scene = scenes_of(one, dataclasses.replace(given(one, text), replaced=True))["backup"]
    assert scene.values["count"] == scene.values["several"] == 1
    assert list(scene.labels["removed"]) == ["all heads", "1 removed", "1 removed", "all 1 removed"]
    assert scene.arrays["gains"].shape == (2, 4)
    assert len(np.unique(scene.arrays["gains"][:, 1:])) == 1


def test_composition_from_the_whole_matrices(scenes) -> None:
    network = load("gpt-classroom").network
    first, second = network.transformer.h[0], network.transformer.h[1]
    shown = scenes["composition"]
    with torch.no_grad():
        # Scores and outputs as functions of the unit vectors of the residual stream.
        basis = torch.eye(256) - 1 / 256
        projected = (basis * second.ln_1.weight) @ second.attn.c_attn.weight
        scores = projected[:, :32] @ projected[:, 256 : 256 + 32].T
        values = (basis * first.ln_1.weight) @ first.attn.c_attn.weight[:, 512:]
        for head in range(8):
            part = slice(32 * head, 32 * head + 32)
            written = (values[:, part] @ first.attn.c_proj.weight[part]).T
            expected = float((scores @ written).norm() / (scores.norm() * written.norm()))
            assert shown.arrays["composition"][0, head] == pytest.approx(expected, rel=1e-3)
    assert shown.labels["earlier"][shown.places["largest"]] == "L0·H7"
    assert shown.values["unrelated"] == pytest.approx(256**-0.5)


def test_the_recorded_training_learns_suddenly(scenes) -> None:
    record = training_record()
    second = np.array(record["second_copy"])
    assert second[0] > 3.5 and second[-1] < 0.1
    assert len({len(record[name]) for name in ("steps", "second_copy", "maps", "induction")}) == 1
    induction = np.array(record["induction"]).max(axis=(1, 2))
    assert induction[0] < 0.1 < 0.9 < induction[-1]
    fast = np.diff(second).min()  # the steepest piece of the curve
    assert fast < -0.25 * second[0]
    maps = np.array(record["maps"])[-1] / 100
    period, (_, size, _) = 12, maps.shape
    assert size == 2 * period + 1
    previous = np.mean([maps[0, at, at - 1] for at in range(1, size)])
    stripe = np.mean([maps[1, at, at - period + 1] for at in range(period + 1, size)])
    assert previous > 0.8 and stripe > 0.8


def test_other_models_are_refused_with_advice() -> None:
    one = lesson("induction")
    with pytest.raises(InputError, match="choose"):
        scenes_of(one, given(one, model="bert-classroom"))


def test_the_students_text_is_read_twice() -> None:
    one = lesson("induction")
    text = "A blue bird sat on the old wall and sang a song."
    scenes = scenes_of(one, dataclasses.replace(given(one, text), replaced=True))
    scene = scenes["find"]
    model = load("gpt-classroom")
    ids = model.tokenizer(text, add_special_tokens=False).input_ids
    assert scene.values["reads"] == f"{len(ids)} tokens of your text"
    twice = torch.tensor([[model.tokenizer.bos_token_id, *ids, *ids]])
    with torch.inference_mode():
        run = eager_network("gpt-classroom")(twice, output_attentions=True)
    for head in range(8):
        expected = run.attentions[1][0, head].numpy()
        assert np.abs(np.nan_to_num(scene.arrays["maps"][8 + head]) - expected).max() < 1e-4
    losses = torch.nn.functional.cross_entropy(run.logits[0, :-1], twice[0, 1:], reduction="none")
    second = float(losses[len(ids) + 1 :].mean())
    assert scenes["cost"].arrays["losses"][0, 1] == pytest.approx(second, abs=1e-3)
    assert len(scene.labels["tokens"]) == 2 * len(ids) + 1


def test_a_short_text_is_refused_with_advice() -> None:
    one = lesson("induction")
    with pytest.raises(InputError, match="write a longer text"):
        scenes_of(one, dataclasses.replace(given(one, "A bird"), replaced=True))
