"""Multiplications beside torch's counter, caches beside the library's, and budgets beside runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, DynamicCache

import attnviz
from attnviz.efficient.layer_stack import layer_bytes, receptive_fields
from attnviz.errors import InputError, TextTooLong
from attnviz.experiments.generation.budget_losses import BudgetLosses, budget_losses
from attnviz.experiments.generation.cache_cuts import CacheCut
from attnviz.experiments.generation.cache_saving import measure_saving
from attnviz.experiments.generation.cached_model import CachedModel, cache_bytes
from attnviz.experiments.generation.cut_losses import run_with_cuts
from attnviz.experiments.generation.model_layers import layers_of
from attnviz.experiments.generation.multiplications import forward_multiplications
from attnviz.models.catalogue import FOLDER
from tests.zoo import Pair, make_pair, random_ids

if TYPE_CHECKING:
    from attnviz import Model

DECODERS = ("gpt-classroom", "llama-classroom", "hybrid-classroom")


@pytest.fixture(scope="module")
def shipped_models() -> dict[str, Model]:
    return {name: attnviz.load(name) for name in DECODERS}


def counted(network: torch.nn.Module, new: int, cached: int) -> dict[str, int]:
    """Return the multiplications that torch counts in the library's eager model, by operation."""
    ids = torch.randint(5, 50, (1, cached + new), generator=torch.Generator().manual_seed(0))
    cache = DynamicCache(config=network.config)  # type: ignore[arg-type]
    with torch.inference_mode():
        if cached:
            network(input_ids=ids[:, :cached], past_key_values=cache, use_cache=True)
        with FlopCounterMode(display=False) as counter:
            network(
                input_ids=ids[:, cached:], past_key_values=cache, use_cache=True, logits_to_keep=1
            )
    measured = counter.get_flop_counts()["Global"]
    return {str(name): flops // 2 for name, flops in measured.items()}  # a flop pair per product


@pytest.mark.parametrize(("new", "cached"), [(1, 0), (40, 0), (100, 0), (1, 30), (1, 99)])
@pytest.mark.parametrize("name", ["gpt-classroom", "llama-classroom"])
def test_the_formula_equals_the_counter(
    name: str, new: int, cached: int, shipped_models: dict[str, Model]
) -> None:
    eager = AutoModelForCausalLM.from_pretrained(
        FOLDER / name, attn_implementation="eager", dtype=torch.float32
    )
    wanted = sum(counted(eager, new, cached).values())
    assert forward_multiplications(shipped_models[name], new, cached) == wanted


def test_a_hybrid_is_its_products_and_its_states(shipped_models: dict[str, Model]) -> None:
    """Hooks count the rows that each weight matrix of the library's model meets."""
    model = shipped_models["hybrid-classroom"]
    eager = AutoModelForCausalLM.from_pretrained(
        FOLDER / "hybrid-classroom", attn_implementation="eager", dtype=torch.float32
    )
    met: list[int] = []

    def meet(module: torch.nn.Linear, given: tuple[torch.Tensor, ...], output: object) -> None:
        met.append(given[0].numel() // module.in_features * module.weight.numel())

    for name, module in eager.named_modules():
        if isinstance(module, torch.nn.Linear) and not name.endswith("dt_proj"):
            module.register_forward_hook(meet)
    for new, cached in ((40, 0), (1, 30)):
        cache = DynamicCache(config=eager.config)
        ids = torch.full((1, cached + new), 7)
        with torch.inference_mode():
            if cached:
                eager(input_ids=ids[:, :cached], past_key_values=cache, use_cache=True)
            met.clear()
            eager(
                input_ids=ids[:, cached:], past_key_values=cache, use_cache=True, logits_to_keep=1
            )
        attention = 8 * new * (new + cached) * 2 * 32
        states = 3 * 512 * new * (4 * 8 + 4)  # 8 numbers of state and 4 of convolution
        states += 3 * 512 * new * 16  # the step's matrix is multiplied without its module
        assert forward_multiplications(model, new, cached) == sum(met) + attention + states


DEEPSEEK = {"first_k_dense_replace": 1, "moe_intermediate_size": 24, "n_shared_experts": 1}
"""One dense layer, then layers with 4 experts, of which 2 read a token, and a shared one."""


def with_experts(name: str, folder: Path) -> Pair:
    """Return a small model of which each token is read by two of four or more experts."""
    sizes = DEEPSEEK if name == "deepseek_v3" else {"num_local_experts": 5}
    return make_pair(name, folder, num_experts_per_tok=2, **sizes)


@pytest.mark.parametrize(("new", "cached"), [(1, 0), (12, 0), (1, 11), (3, 20)])
@pytest.mark.parametrize("name", ["mixtral", "gpt_oss", "deepseek_v3"])
def test_experts_and_latent_attention_equal_the_counter(
    name: str, new: int, cached: int, tmp_path: Path
) -> None:
    pair = with_experts(name, tmp_path)
    pair.eager.set_experts_implementation("eager")
    wanted = sum(counted(pair.eager, new, cached).values())
    assert forward_multiplications(pair.model, new, cached) == wanted


def test_an_expert_more_is_multiplied_more(tmp_path: Path) -> None:
    model = with_experts("mixtral", tmp_path).model
    two = forward_multiplications(model, 7)
    model.network.config.num_experts_per_tok = 3
    experts = model.network.get_submodule("model.layers.0.mlp.experts")
    of_one = sum(one[0].numel() for one in experts.parameters())
    assert forward_multiplications(model, 7) - two == 7 * 3 * of_one  # three layers
    vars(model.network.config)["num_experts_per_tok"] = None
    with pytest.raises(InputError, match="how many experts"):
        forward_multiplications(model, 7)


def test_latent_attention_keeps_the_bytes_of_the_library_s_cache(tmp_path: Path) -> None:
    model = with_experts("deepseek_v3", tmp_path).model
    layers = layers_of(model)
    assert {one.kind for one in layers} == {"latent attention"}
    cached, total = CachedModel(model), 0
    for read in (1, 4, 9):
        cached.read(random_ids(model, read))
        total += read
        assert cached.cache is not None
        held = cache_bytes(cached.cache)
        assert layer_bytes(layers, total, bytes_per_number=4).tolist() == list(held.values())


def test_what_is_not_counted_is_refused(zoo: Callable[[str], Pair]) -> None:
    with pytest.raises(InputError, match="choose a GPT"):
        forward_multiplications(attnviz.load("bert-classroom"), 3)
    with pytest.raises(InputError, match="at least one token"):
        forward_multiplications(zoo("gpt2").model, 0)
    model = zoo("gpt2").model
    try:
        model.network.register_parameter("odd", torch.nn.Parameter(torch.zeros(2, 3)))
        with pytest.raises(InputError, match="not counted here"):
            forward_multiplications(model, 3)
    finally:
        del model.network.odd


def test_both_ways_write_what_the_library_writes(shipped_models: dict[str, Model]) -> None:
    for name, model in shipped_models.items():
        ids = random_ids(model, 12)
        steps: list[tuple[int, int]] = []
        measured = measure_saving(
            model,
            ids,
            6,
            repeats=2,
            progress=lambda at, all_: steps.append((at, all_)),  # noqa: B023
        )
        with torch.inference_mode():
            written = model.network.generate(
                torch.tensor([ids]), max_new_tokens=6, do_sample=False, eos_token_id=None,
                pad_token_id=0, repetition_penalty=1.0,
            )[0, 12:].tolist()  # fmt: skip
        assert list(measured.ids) == written, name
        assert measured.same, name
        assert steps[-1] == (12, 12)
        assert measured.cached[0] == measured.again[0]
        assert (np.diff(measured.again) > 0).all()
        assert (measured.cached[1:] * 5 < measured.again[1:]).all()
        assert (measured.cached_seconds > 0).all()
        assert (measured.again_seconds > 0).all()


def test_what_cannot_be_written_is_refused(gpt: Model, shipped_models: dict[str, Model]) -> None:
    with pytest.raises(TextTooLong, match="write fewer"):
        measure_saving(shipped_models["gpt-classroom"], (5,) * 250, 7)
    with pytest.raises(InputError, match="choose a GPT"):
        measure_saving(attnviz.load("bert-classroom"), (5, 6), 1)
    with pytest.raises(InputError, match="at least one token"):
        measure_saving(gpt, (5, 6), 0)


@pytest.mark.parametrize("name", DECODERS)
def test_layers_keep_the_bytes_of_the_library_s_cache(
    name: str, shipped_models: dict[str, Model]
) -> None:
    model = shipped_models[name]
    layers = layers_of(model)
    cached = CachedModel(model)
    for read in range(1, 81):
        cached.read([5 + read])
        assert cached.cache is not None
        ours = layer_bytes(layers, read, bytes_per_number=4)
        held = cache_bytes(cached.cache)
        for at, layer in enumerate(layers):
            if layer.kind == "state":
                one = cached.cache.layers[at]
                states = [*one.conv_states.values(), *one.recurrent_states.values()]
                assert sum(state.numel() * 4 for state in states) == ours[at]
                continue
            last = 0 if layer.window is None or read < layer.window else layer.per_token * 4
            assert held[at] == ours[at] - last  # a window's newest token comes with the query


@pytest.mark.parametrize("name", ["mistral", "gemma2"])
def test_receptive_fields_beside_a_changed_token(name: str, zoo: Callable[[str], Pair]) -> None:
    """Change one token: the streams behind each layer change that far and no further."""
    pair = zoo(name)
    fields = receptive_fields(layers_of(pair.model))
    assert np.isfinite(fields[0])
    ids = torch.tensor([random_ids(pair.model, 30)])
    other = ids.clone()
    other[0, 3] = 5 + (int(ids[0, 3]) - 4) % 20
    with torch.inference_mode():
        one, two = (
            pair.eager(given, output_hidden_states=True).hidden_states for given in (ids, other)
        )
    last = len(fields)
    for layer, field in enumerate(fields, 1):
        if layer == last:  # behind the last layer comes a norm of each position alone
            assert len(one) == last + 1
        moved = (one[layer] - two[layer])[0].abs().amax(-1).numpy() > 0
        reached = np.flatnonzero(moved)
        assert reached[0] == 3
        assert reached[-1] == min(29, 3 + field)


def test_budgets_are_those_of_single_runs(gpt: Model) -> None:
    ids = random_ids(gpt, 20)
    measured = budget_losses(gpt, ids, "first", (2, 4, 20))
    whole, *runs = run_with_cuts(gpt, ids, [CacheCut("first", one) for one in (2, 4, 20)])
    np.testing.assert_array_equal(measured.losses, [run.losses[9:].mean() for run in runs])
    assert measured.whole == whole.losses[9:].mean() == measured.losses[2]
    assert measured.measured == 10
    assert len(measured.budgets) == 3


@pytest.mark.parametrize(
    ("rule", "axes"), [("round", ("channel", "token")), ("other axes", ("token", "channel"))]
)
def test_bits_are_those_of_single_runs(
    rule: Literal["round", "other axes"],
    axes: tuple[Literal["channel", "token"], Literal["channel", "token"]],
    gpt: Model,
) -> None:
    ids = random_ids(gpt, 40)
    measured = budget_losses(gpt, ids, rule, (2, 4, 8))
    key_axis, value_axis = axes
    cuts = [
        CacheCut("round", bits=one, group=8, key_axis=key_axis, value_axis=value_axis)
        for one in (2, 4, 8)
    ]
    _, *runs = run_with_cuts(gpt, ids, cuts)
    np.testing.assert_array_equal(measured.losses, [run.losses[19:].mean() for run in runs])
    assert abs(measured.losses[2] - measured.whole) < abs(measured.losses[0] - measured.whole)


def test_the_break_is_the_smallest_budget_from_which_all_are_near() -> None:
    def at(*losses: float) -> int | None:
        return BudgetLosses(np.array([2, 4, 8, 16]), np.array(losses), 3.0, 9).breaks_below(0.1)

    assert at(5, 4, 3.05, 3.0) == 8
    assert at(3.0, 4, 3.05, 3.0) == 8  # a small loss by chance does not count
    assert at(3.0, 3.0, 3.0, 3.0) == 2
    assert at(3.0, 3.0, 3.0, 3.2) is None


def test_wrong_budgets_get_a_sentence(gpt: Model) -> None:
    ids = random_ids(gpt, 8)
    for wrong in ((), (4, 2), (2, 2)):
        with pytest.raises(InputError, match="ascend"):
            budget_losses(gpt, ids, "window", wrong)
    with pytest.raises(InputError, match="8, 4 or 2 bits"):
        budget_losses(gpt, ids, "round", (2, 3))
    with pytest.raises(InputError, match="no losses"):
        budget_losses(gpt, ids, "window", (2,), start=8)
