"""Numbers of the lesson about state spaces against the library's layers and loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from attnviz.captures.forward_pass import capture
from attnviz.errors import InputError
from attnviz.experiments.text_sets import bundled
from attnviz.lessons import scenes_of
from attnviz.lessons.efficiency.selective_states import selective_states
from attnviz.written_numbers import percent
from tests.lessons.given import eager, given, lesson, load

HYBRID = "hybrid-classroom"


@pytest.fixture(scope="module")
def scenes():
    one = lesson("hybrid")
    return scenes_of(one, given(one))


@pytest.fixture(scope="module")
def ids() -> list[int]:
    return list(given(lesson("hybrid")).capture["self"].query_tokens.ids)


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_the_matrix_is_what_the_library_s_layer_computes(layer: int, ids: list[int]) -> None:
    """(M x + D x) · silu(gate) is what the library's layer gives to its last projection."""
    states = selective_states(load(HYBRID), ids, layer)
    mixer = eager(HYBRID).model.layers[layer].mamba
    seen = {}
    mixer.in_proj.register_forward_hook(lambda _, __, out: seen.update(gate=out[0]))
    mixer.out_proj.register_forward_hook(lambda _, given_, __: seen.update(out=given_[0][0]))
    network = eager(HYBRID)
    network.model.layers[layer].mamba = mixer
    with torch.inference_mode():
        network(torch.tensor([ids]), use_cache=False)
    gate = seen["gate"].chunk(2, -1)[1].double()
    for channel in (0, 100, 286, 511):
        ours = states.matrix(channel) @ states.inputs[:, channel]
        ours = (ours + states.skips[channel] * states.inputs[:, channel]) * (
            torch.nn.functional.silu(gate[:, channel])
        )
        wanted = seen["out"][:, channel].double()
        assert (ours - wanted).abs().max() < 1e-5 * max(1.0, float(wanted.abs().max()))


def test_what_is_left_is_a_product_of_factors(scenes) -> None:
    model = load(HYBRID)
    text = bundled("decoder").texts[0].source
    story = list(capture(model, text, predict=False)["self"].query_tokens.ids)
    states = selective_states(model, story, 0)
    steps, decays = states.steps.numpy(), states.decays.numpy()
    for distance in (0, 1, 7, 30):
        left = []
        for start in range(len(story) - distance):
            factors = np.ones_like(decays)
            for token in range(start + 1, start + distance + 1):
                factors = factors * np.exp(steps[token][:, None] * decays)
            left.append(factors)
        mean = np.mean(left, 0)
        assert scenes["fade"].arrays["mean"][distance] == pytest.approx(mean.mean(), abs=1e-9)
        slow = np.quantile(mean, 0.9)
        assert scenes["fade"].arrays["slow"][distance] == pytest.approx(slow, abs=1e-9)
    assert (np.diff(scenes["fade"].arrays["mean"]) < 0).all()
    assert (steps > 0).all() and (decays < 0).all()


def test_rows_have_signs_and_no_fixed_sum(scenes, ids: list[int]) -> None:
    scene = scenes["matrix"]
    matrix = scene.arrays["matrix"][0]
    count = len(ids)
    layer, channel = (int(word.strip(",")) for word in scene.labels["channels"][0].split()[1::2])
    states = selective_states(load(HYBRID), ids, layer)
    for i in range(count):
        for j in range(count):
            if j > i:
                assert math.isnan(matrix[i, j])
                continue
            between = states.steps[j + 1 : i + 1, channel].sum()
            weight = sum(
                float(states.reads[i, s] * states.writes[j, s] * states.steps[j, channel])
                * math.exp(float(states.decays[channel, s] * between))
                for s in range(states.writes.shape[1])
            )  # fmt: skip
            assert matrix[i, j] == pytest.approx(weight, abs=1e-10)
    assert scene.values["sums"][0] == pytest.approx(matrix[-1].sum())
    top = int(np.abs(matrix[-1]).argmax())
    assert scene.places["top"] == (count - 1) * count + top
    below = matrix[np.tril_indices(count)]
    assert scene.values["negative"][0] == percent(float((below < 0).mean()))
    assert (below < 0).any() and (below > 0).any()
    assert max(abs(one - 1) for one in scene.values["sums"]) > 0.3


def test_the_memory_is_that_of_the_library_s_cache(scenes) -> None:
    network = eager(HYBRID)
    with torch.inference_mode():
        cache = network(torch.full((1, 64), 7), use_cache=True).past_key_values
    kept = []
    for layer in range(4):
        one = cache.layers[layer]
        if layer == 2:
            tensors = [one.keys, one.values]
        else:
            tensors = [*one.conv_states.values(), *one.recurrent_states.values()]
        kept.append(sum(tensor.numel() * tensor.element_size() for tensor in tensors))
    shown = scenes["memory"].arrays["kilobytes"] * 1e3
    assert shown[0].tolist() == kept
    assert (shown[:, [0, 1, 3]] == shown[0, 0]).all()
    assert shown[-1, 2] == kept[2] * 64  # 4,096 tokens
    assert scenes["memory"].values["times"] == pytest.approx(shown[-1, 2] / kept[0])
    assert shown.max() < 2200e3  # the end of the bars


def test_copying_hangs_on_the_attention(scenes) -> None:
    scene = scenes["copy"]
    assert scene.values["period"][scene.places["period"]] == 25
    for first, second, without in scene.arrays["losses"]:
        assert second < first - 5 and without > first - 1  # the point is visible
    first, second, without = scene.arrays["losses"][scene.places["period"]]
    # the library's eager model, with the output of its attention set to zero
    network = eager(HYBRID)
    ids = torch.randint(300, 3000, (6, 25), generator=torch.Generator().manual_seed(1))
    begin = torch.full((6, 1), int(load(HYBRID).tokenizer.bos_token_id))
    read = torch.cat([begin, ids, ids], 1)

    def losses() -> torch.Tensor:
        with torch.inference_mode():
            logits = network(read, use_cache=False).logits[:, :-1]
        return torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), read[:, 1:], reduction="none"
        )[:, 26:]

    whole = float(losses().mean())
    attention = network.model.layers[2].self_attn
    attention.register_forward_hook(lambda _, __, out: (out[0] * 0, *out[1:]))
    cut = float(losses().mean())
    assert second == pytest.approx(whole, abs=1.0)  # other random tokens
    assert without == pytest.approx(cut, abs=1.0)


def test_attention_is_no_state() -> None:
    with pytest.raises(InputError, match="is no state space"):
        selective_states(load(HYBRID), [5, 6], 2)
