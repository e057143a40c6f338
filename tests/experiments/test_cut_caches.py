"""Cut caches: exact with a large budget, equal to slow loops, and of the bytes of the formula."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

from attnviz.attention import Places, listening
from attnviz.errors import InputError
from attnviz.experiments.generation.cache_cuts import CacheCut
from attnviz.experiments.generation.cached_model import CachedModel
from attnviz.experiments.generation.cut_layers import EvictingLayer, ReceivedWeights, cut_cache
from attnviz.experiments.generation.cut_losses import run_with_cuts
from attnviz.experiments.generation.rounded_numbers import RoundedGroup
from tests.bounds import EPSILON, MODEL_NATS
from tests.experiments.slow_attention import slow_model
from tests.zoo import random_ids

if TYPE_CHECKING:
    from attnviz import Model
    from tests.zoo import Pair

TOKENS = 14
CUTS = {
    "window": CacheCut("window", 5),
    "first": CacheCut("first", 6, first=2),
    "heavy": CacheCut("heavy", 5),
}


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "gpt_oss"])
def test_budgets_of_the_whole_text_change_nothing(name: str, zoo: Callable[[str], Pair]) -> None:
    model = zoo(name).model
    cuts = [
        CacheCut("window", TOKENS),
        CacheCut("first", TOKENS, first=3),
        CacheCut("heavy", TOKENS),
        CacheCut("round", bits=2, group=16),
    ]
    whole, *others = run_with_cuts(model, random_ids(model, TOKENS), cuts)
    for run in others:
        np.testing.assert_array_equal(run.losses, whole.losses)
        np.testing.assert_array_equal(run.divergence, 0)
        np.testing.assert_array_equal(run.bytes, whole.bytes)


@pytest.mark.parametrize("method", CUTS)
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_losses_equal_a_slow_loop_on_the_library_s_model(
    name: str, method: str, zoo: Callable[[str], Pair]
) -> None:
    """Each query of the slow loop sees the keys that the rule keeps at its step."""
    pair, cut = zoo(name), CUTS[method]
    ids = random_ids(pair.model, TOKENS)
    heads, key_heads = pair.model.info.heads["self"][1], pair.model.info.key_heads["self"]
    group = heads // key_heads
    kept: dict[tuple[int, int, int], list[int]] = {}
    received: dict[tuple[int, int], dict[int, float]] = defaultdict(lambda: defaultdict(float))
    counted: set[tuple[int, int, int]] = set()

    def keep(layer: int, key_head: int, query: int) -> list[int]:
        place = (layer, key_head, query)
        if place not in kept:
            before = kept[layer, key_head, query - 1] if query else []
            seen = [*before, query]
            if len(seen) > cut.budget:
                if method == "window":
                    seen = seen[1:]
                elif method == "first":
                    seen = [one for one in seen if one != seen[cut.first]]
                else:
                    recent = (cut.budget + 1) // 2
                    old = seen[: len(seen) - recent]
                    weights = received[layer, key_head]
                    worst = min(old, key=lambda one: weights[one])
                    seen = [one for one in seen if one != worst]
            kept[place] = seen
        return kept[place]

    def row(layer: int, head: int, query: int, scores: Tensor) -> Tensor:
        seen = keep(layer, head // group, query)
        weights = torch.zeros_like(scores)
        weights[seen] = scores[seen].softmax(0)
        if (layer, head, query) not in counted:
            counted.add((layer, head, query))
            for one in seen:
                received[layer, head // group][one] += float(weights[one])
        return weights

    losses = []
    with torch.inference_mode(), slow_model(pair.eager, row) as network:
        for length in range(1, TOKENS):  # a token at a time: keys of later steps depend on earlier
            given = torch.tensor([ids[:length]])
            logits = network(given, use_cache=False).logits[0, -1].double()
            losses.append(-float(logits.log_softmax(-1)[ids[length]]))
    run = run_with_cuts(pair.model, ids, [cut])[1]
    np.testing.assert_allclose(run.losses, losses, atol=MODEL_NATS)

    cache = _read(pair.model, ids, cut)
    for layer, one in enumerate(cache):
        for head in range(key_heads):
            # The last token was not read by the slow loop; the step before it was.
            assert one[TOKENS - 2][head] == kept[layer, head, TOKENS - 2]


def _read(model: Model, ids: tuple[int, ...], cut: CacheCut) -> list[list[list[list[int]]]]:
    """Return the kept positions by layer, step and key head."""
    cache = cut_cache(model, cut)
    cached = CachedModel(model, cache)
    kept: list[list[list[list[int]]]] = [[] for _ in cache.layers]
    for number in ids:
        sizes = {kind: size[0] for kind, size in model.sites.heads.items()}
        cached.read([number], ReceivedWeights(Places(model.sites.kinds, sizes), model, cache))
        for place, layer in enumerate(cache.layers):
            assert isinstance(layer, EvictingLayer)
            kept[place].append(layer.positions[0].tolist())
    return kept


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_bytes_equal_the_formula(name: str, zoo: Callable[[str], Pair]) -> None:
    model = zoo(name).model
    cuts = [*CUTS.values(), *(CacheCut("round", bits=bits, group=8) for bits in (8, 4, 2))]
    cuts.append(CacheCut("round", group=8, key_axis="token", value_axis="channel"))
    layers = model.info.heads["self"][0]
    sizes = {"kv_heads": model.info.key_heads["self"], "d_head": 8}
    runs = run_with_cuts(model, random_ids(model, 19), cuts)
    whole = CacheCut("window", 19)
    for cut, run in zip([whole, *cuts], runs, strict=True):
        assert run.bytes.tolist() == [layers * cut.bytes(read + 1, **sizes) for read in range(19)]


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("axis", ["channel", "token"])
def test_rounding_is_off_by_half_a_step_at_most(bits: int, axis: str) -> None:
    vectors = torch.randn(2, 3, 16, 5, generator=torch.Generator().manual_seed(bits)) * 3
    group = RoundedGroup.of(vectors, bits, axis)  # type: ignore[arg-type]
    along = 2 if axis == "channel" else 3
    step = (vectors.amax(along, keepdim=True) - vectors.amin(along, keepdim=True)) / (2**bits - 1)
    error = (group.vectors() - vectors).abs()
    assert bool((error <= step / 2 + 30 * EPSILON * vectors.abs().max()).all())
    assert float((error / step).max()) > 0.3  # half a step is reached, nearly
    assert group.codes.numel() == 2 * 3 * 16 * 5 * bits // 8


def test_constant_groups_stay_exact() -> None:
    vectors = torch.full((1, 1, 8, 4), 2.5)
    assert torch.equal(RoundedGroup.of(vectors, 2, "channel").vectors(), vectors)


def test_a_cut_in_one_thread_leaves_the_model_as_it_was(gpt: Model) -> None:
    ids = random_ids(gpt, TOKENS)
    before = run_with_cuts(gpt, ids, [])[0]
    run_with_cuts(gpt, ids, [CUTS["heavy"]])
    np.testing.assert_array_equal(run_with_cuts(gpt, ids, [])[0].losses, before.losses)


def test_progress_counts_tokens_and_may_cancel(gpt: Model) -> None:
    class Stop(Exception):
        pass

    seen: list[tuple[int, int]] = []

    def progress(read: int, total: int) -> None:
        seen.append((read, total))
        if read == 3:
            raise Stop

    with pytest.raises(Stop):
        run_with_cuts(gpt, random_ids(gpt, 9), [], progress=progress)
    assert seen == [(1, 9), (2, 9), (3, 9)]


def test_models_that_cannot_be_cut_get_a_sentence(
    t5: Model, bert: Model, zoo: Callable[[str], Pair]
) -> None:
    for model in (t5, bert):
        with pytest.raises(InputError, match="choose a GPT"):
            run_with_cuts(model, (5, 6, 7), [])
    with pytest.raises(InputError, match="windows"):
        cut_cache(zoo("mistral").model, CUTS["window"])


def test_scores_with_a_bias_by_distance_are_refused(gpt: Model) -> None:
    from attnviz.attention.interface import attention

    query = torch.zeros(1, 2, 1, 4)
    bias = torch.zeros(1, 2, 1, 1)
    module = next(iter(gpt.network.modules()))
    cache = cut_cache(gpt, CUTS["window"])
    listener = ReceivedWeights(Places({}, {}), gpt, cache)
    with listening(listener), pytest.raises(InputError, match="bias by distance"):
        attention(module, query, query, query, None, position_bias=bias)


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "other"},
        {"method": "window", "budget": 0},
        {"method": "first", "budget": 4, "first": 4},
        {"method": "heavy", "budget": 1},
        {"method": "round", "bits": 3},
        {"method": "round", "group": 12},
        {"method": "round", "key_axis": "head"},
    ],
)
def test_rules_that_keep_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        CacheCut(**wrong)  # type: ignore[arg-type]


def test_several_tokens_at_a_time_are_refused(gpt: Model) -> None:
    for cut in (CUTS["window"], CacheCut("round")):
        with pytest.raises(InputError, match="one token at a time"):
            CachedModel(gpt, cut_cache(gpt, cut)).read([5, 6])


def test_texts_are_checked(gpt: Model) -> None:
    with pytest.raises(InputError, match="at least 2 tokens"):
        run_with_cuts(gpt, (5,), [])
    with pytest.raises(InputError):
        run_with_cuts(gpt, (5, 10**6), [])
