"""Numbers of the lesson about the cache against the library and against token-by-token runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from attnviz.efficient import kv_cache_bytes
from attnviz.experiments.generation.cache_cuts import CacheCut
from attnviz.experiments.generation.cut_losses import run_with_cuts
from attnviz.experiments.text_sets import bundled
from attnviz.lessons import scenes_of
from attnviz.written_numbers import percent
from tests.lessons.given import eager, given, lesson, load

GIGA = 1e9


@pytest.fixture(scope="module")
def scenes():
    one = lesson("cache")
    return scenes_of(one, given(one))


def test_only_the_newest_query_is_needed(scenes) -> None:
    every = scenes["needed"].arrays["changes"]
    stack = given(lesson("cache")).capture["self"]
    scale = float(stack.layers[2].scaling)

    def newest(query, key, value):
        whole = torch.nn.functional.scaled_dot_product_attention(
            query[None], key[None], value[None], is_causal=True, scale=scale
        )
        return whole[0, -1]

    for head, changes in enumerate(every):
        vectors = [
            torch.tensor(one(2, head)).double() for one in (stack.query, stack.key, stack.value)
        ]
        before = newest(*vectors)
        for token in range(len(changes)):
            for kind in range(3):
                changed = [one.clone() for one in vectors]
                changed[kind][token] = 0
                expected = float((newest(*changed) - before).norm() / before.norm())
                assert changes[token, kind] == pytest.approx(expected, abs=1e-9)
        assert (changes[:-1, 0] == 0).all() and changes[-1, 0] > 0.01
    changes = every[scenes["needed"].places["chosen"]]
    assert scenes["needed"].places["chosen"] == 4
    assert (changes[:, 1:] > 1e-3).all() and changes[-1, 0] > 0.1


def test_multiplications_are_those_that_torch_counts(scenes) -> None:
    network = eager("gpt-classroom")
    ids = torch.arange(1, 50)[None]

    def counted(tokens: torch.Tensor, past=None) -> float:
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network(tokens, past_key_values=past, use_cache=True, logits_to_keep=1)
        return counter.get_total_flops() / 2 / 1e6

    for length in (1, 2, 17, 48):
        assert scenes["saved"].arrays["again"][length - 1] == pytest.approx(
            counted(ids[:, :length]), rel=1e-6
        )
        if length > 1:
            with torch.inference_mode():
                past = network(ids[:, : length - 1], use_cache=True).past_key_values
            assert scenes["saved"].arrays["cached"][length - 1] == pytest.approx(
                counted(ids[:, length - 1 : length], past), rel=1e-6
            )
    again, cached = (scenes["saved"].arrays[name] for name in ("again", "cached"))
    assert scenes["saved"].values["times"] == pytest.approx(sum(again) / sum(cached))
    assert again.max() < 200  # the end of the axis


def test_caches_have_the_published_sizes(scenes) -> None:
    scene = scenes["memory"]
    sizes = dict(zip(scene.labels["models"], scene.arrays["gigabytes"].T * GIGA, strict=True))
    lengths = [int(one.replace(",", "")) for one in scene.labels["lengths"]]
    shapes = {"Llama 2 7B": (32, 32), "Llama 2 70B": (80, 8), "Llama 3 8B": (32, 8)}
    for at, tokens in enumerate(lengths):
        for name, (layers, kv_heads) in shapes.items():
            expected = kv_cache_bytes(layers=layers, kv_heads=kv_heads, d_head=128, tokens=tokens)
            assert sizes[name][at] == expected
        window = kv_cache_bytes(layers=32, kv_heads=8, d_head=128, tokens=tokens, window=4096)
        assert sizes["Mistral 7B"][at] == window
        assert sizes["DeepSeek-V3"][at] == 70_272 * tokens
    at_4096 = lengths.index(4096)
    assert scene.values["first_bytes"][at_4096] == 2_147_483_648
    assert scene.places["longest"] == len(lengths) - 1 and lengths[-1] == 32_768
    assert scene.arrays["gigabytes"].max() < 20  # the end of the bars


@pytest.mark.slow
def test_losses_are_those_of_a_cache_that_drops_tokens(scenes) -> None:
    model = load("gpt-classroom")
    text = " ".join(one.source for one in bundled("decoder").texts)
    ids = model.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    begin = model.tokenizer.bos_token_id
    cuts = [CacheCut("window", 8), CacheCut("first", 8), CacheCut("window", 64)]
    losses = []
    for at in range(3):
        window = (begin, *ids[255 * at : 255 * (at + 1)])
        losses.append([run.losses[99:].mean() for run in run_with_cuts(model, window, cuts)])
    whole, last, first, wide = np.mean(losses, 0)
    scene = scenes["first"]
    eight = scene.places["eight"]
    assert scene.arrays["losses"][eight] == pytest.approx([whole, last, first], abs=2e-4)
    curve = scenes["break"].arrays["window"]
    assert curve[[1, 4, 6]] == pytest.approx([last, wide, whole], abs=2e-4)


def test_the_loss_breaks_and_the_first_token_helps(scenes) -> None:
    curve = scenes["break"].arrays["window"]
    budgets = scenes["break"].labels["budgets"]
    assert (np.diff(curve) < 0).all() and curve[0] - curve[-1] > 1
    enough = next(int(name) for name, loss in zip(budgets, curve, strict=True)
                  if loss <= curve[-1] + 0.1)  # fmt: skip
    assert scenes["break"].values["enough"] == enough
    whole, last, first = scenes["first"].arrays["losses"][1]
    assert whole < first < last - 0.2
    assert curve.min() >= 3.5 and curve.max() <= 6  # the axis


def test_the_weight_on_the_first_token_is_the_librarys(scenes) -> None:
    model = load("gpt-classroom")
    text = " ".join(one.source for one in bundled("decoder").texts)
    ids = model.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids[:255]
    with torch.inference_mode():
        read = torch.tensor([[model.tokenizer.bos_token_id, *ids]])
        attentions = eager("gpt-classroom")(read, output_attentions=True).attentions
    mean = float(torch.stack([one[0, :, 100:, 0].mean() for one in attentions]).mean())
    assert scenes["first"].values["sink"] == percent(float(mean))
    even = np.mean([1 / (row + 1) for row in range(100, 256)])
    assert scenes["first"].values["even"] == percent(float(even))
    assert mean > 4 * even
