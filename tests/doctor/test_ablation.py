"""Switching heads off, beside a slow loop over the library's own eager model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from attnviz import Model
from attnviz.captures import forward_pass
from attnviz.errors import InputError
from attnviz.experiments import ablation, replay
from attnviz.experiments.ablation import ablate, ablate_groups
from attnviz.experiments.gradient_importance import importance
from attnviz.experiments.hooked_model import HookedModel
from attnviz.experiments.loss_examples import Example, LossInput
from attnviz.types import Head, Kind
from tests.bounds import MODEL, MODEL_NATS
from tests.zoo import ARCHITECTURES, Pair, make_pair, random_texts

OUTPUT = re.compile(
    r"(attn\.(c_proj|Wo)|self_attn\.(o_proj|out_proj|dense)|encoder_attn\.out_proj"
    r"|attention\.(out_lin|dense|output\.dense)|(SelfAttention|EncDecAttention)\.o)$"
)
"""How the library's authors have called the layer that mixes the heads."""

SOME = ("bert", "albert", "gpt2", "llama", "gpt_oss", "gemma2", "jamba", "t5", "bart")
LENGTHS = (4, 11, 7)
STEP = 3e-3


@pytest.fixture(scope="module", params=SOME)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(request.param, tmp_path_factory.mktemp(request.param))


def examples_of(model: Model, lengths: tuple[int, ...] = LENGTHS) -> list[Example]:
    """Random texts; every second token has to be predicted, whatever the model."""
    random_examples = []
    for number, encoded in enumerate(random_texts(model, lengths)):
        read = encoded.ids if encoded.target is None else encoded.target
        places = tuple(range(0, len(read) - 1, 2)) or (0,)
        wanted = tuple(read[(place + 1) % len(read)] for place in places)
        random_examples.append(Example(number, encoded, (LossInput(encoded, places, wanted),)))
    return random_examples


def outputs_of(network: PreTrainedModel) -> dict[Kind, list[nn.Module]]:
    """Return the modules that mix the heads, by the library's names."""
    by_kind: dict[Kind, list[nn.Module]] = {}
    for name, module in network.named_modules():
        if OUTPUT.search(name) and "crossattention" not in name:
            kind: Kind = "self"
            if network.config.is_encoder_decoder:
                kind = "encoder" if ".encoder." in f".{name}" else "decoder"
                if "EncDec" in name or "encoder_attn" in name:
                    kind = "cross"
            by_kind.setdefault(kind, []).append(module)
    return by_kind


@contextmanager
def head_changed(
    module: nn.Module, layer_use: int, heads: slice, change: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """Part of what goes into a layer is changed, at its `layer_use`-th use only."""
    uses = [0]

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        uses[0] += 1
        if uses[0] - 1 != layer_use:
            return inputs
        changed = inputs[0].clone()
        changed[..., heads] = change(changed[..., heads])
        return (changed, *inputs[1:])

    handle = module.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def head_replaced(
    module: nn.Module, layer_use: int, heads: slice, by: Tensor
) -> AbstractContextManager[None]:
    """Part of what goes into a layer is replaced."""
    return head_changed(module, layer_use, heads, lambda part: by.expand_as(part))


def scaled(module: nn.Module, use: int, part: slice, factor: float) -> AbstractContextManager[None]:
    """Part of what goes into a layer is multiplied."""
    return head_changed(module, use, part, lambda values: values * factor)


def loss(eager: PreTrainedModel, loss_input: LossInput) -> float:
    """Return the library's loss of one input, alone and unpadded."""
    inputs = {"input_ids": torch.tensor([loss_input.encoded.ids])}
    if loss_input.encoded.target is not None:
        inputs["decoder_input_ids"] = torch.tensor([loss_input.encoded.target])
    with torch.no_grad():
        logits = eager(**inputs).logits[0].double()
    chosen = logits[list(loss_input.positions)].log_softmax(-1)
    return -float(chosen[range(len(loss_input.target_ids)), list(loss_input.target_ids)].sum())


def places(eager: PreTrainedModel, model: Model, kind: Kind, layer: int) -> tuple[nn.Module, int]:
    """Return the mixing module of a layer, and the number of its use (ALBERT has only one)."""
    modules = outputs_of(eager)[kind]
    if len(modules) == 1 < model.info.heads[kind][0]:
        return modules[0], layer
    assert len(modules) == model.info.heads[kind][0]
    return modules[layer], 0


def test_zero_ablation_is_what_the_library_gives_without_the_head(pair: Pair) -> None:
    model, examples = pair.model, examples_of(pair.model)
    ablation = ablate(model, examples, replacements=("zero",))
    assert ablation.tokens.tolist() == [example.tokens for example in examples]
    base = [loss(pair.eager, one.loss_inputs[0]) for one in examples]
    np.testing.assert_allclose(ablation.baseline, base, atol=MODEL_NATS)
    largest = 0.0
    for kind, (layers, heads) in model.info.heads.items():
        for layer in range(layers):
            module, use = places(pair.eager, model, kind, layer)
            width = wide(pair.eager, module) // heads
            for head in range(heads):
                part = slice(head * width, (head + 1) * width)
                for text, example in enumerate(examples):
                    with head_replaced(module, use, part, torch.zeros(width)):
                        expected = loss(pair.eager, example.loss_inputs[0]) - base[text]
                    got = ablation.change["zero"][kind][layer, head, text]
                    assert got == pytest.approx(expected, abs=2e-4), (kind, layer, head, text)
                    largest = max(largest, abs(got))
    assert largest > 1e-2


def wide(network: PreTrainedModel, module: nn.Module) -> int:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.shape[0] if type(module).__name__ == "Conv1D" else weight.shape[1]


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_mean_ablation_by_hand(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    pair = make_pair(name, tmp_path_factory.mktemp(name))
    model, examples = pair.model, examples_of(pair.model)
    kind: Kind = "self" if name == "gpt2" else "cross"
    layer, head = 1, 2
    module, use = places(pair.eager, model, kind, layer)
    width = wide(pair.eager, module) // model.info.heads[kind][1]
    part = slice(head * width, (head + 1) * width)
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, :, part]))
    base = [loss(pair.eager, example.loss_inputs[0]) for example in examples]
    handle.remove()
    mean = torch.cat(seen).mean(0)
    changes = ablate(model, examples, replacements=("mean",)).change["mean"][kind][layer, head]
    for text, example in enumerate(examples):
        with head_replaced(module, use, part, mean):
            expected = loss(pair.eager, example.loss_inputs[0]) - base[text]
        assert changes[text] == pytest.approx(expected, abs=1e-4)


def test_uniform_ablation_gives_the_mean_of_the_visible_values(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    pair = make_pair("mistral", tmp_path_factory.mktemp("mistral"))
    model, examples = pair.model, examples_of(pair.model, (9,))
    stack = forward_pass.capture_ids(model, [examples[0].encoded])[0]["self"]
    layer, head = 0, 3
    visible = stack.layers[layer].visibility.table()[0].numpy()
    assert not visible[-1].all()  # a window
    average = visible / visible.sum(1, keepdims=True) @ stack.value(layer, head)
    module, _ = places(pair.eager, model, "self", layer)
    width = average.shape[1]
    part = slice(head * width, (head + 1) * width)
    base = loss(pair.eager, examples[0].loss_inputs[0])
    with head_replaced(module, 0, part, torch.from_numpy(average).float()):
        expected = loss(pair.eager, examples[0].loss_inputs[0]) - base
    changes = ablate(model, examples, replacements=("uniform",)).change["uniform"]["self"]
    assert changes[layer, head, 0] == pytest.approx(expected, abs=1e-4)


def test_groups_are_switched_off_together(pair: Pair) -> None:
    model, examples = pair.model, examples_of(pair.model)
    kinds = list(model.info.heads)
    group = (Head(kinds[0], 0, 1), Head(kinds[-1], model.info.heads[kinds[-1]][0] - 1, 0))
    ablation = ablate_groups(model, examples, [group, group[:1]], "zero")
    alone = ablate(model, examples, replacements=("zero",)).change["zero"]
    np.testing.assert_allclose(ablation[group[:1]], alone[kinds[0]][0, 1], atol=1e-4)
    for text, example in enumerate(examples):
        base = loss(pair.eager, example.loss_inputs[0])
        with_both: list[tuple[nn.Module, int, slice]] = []
        for head in group:
            module, use = places(pair.eager, model, head.kind, head.layer)
            width = wide(pair.eager, module) // model.info.heads[head.kind][1]
            with_both.append((module, use, slice(head.head * width, (head.head + 1) * width)))
        (one, use, part), (other, other_use, other_part) = with_both
        zero = torch.zeros(())
        with head_replaced(one, use, part, zero), head_replaced(other, other_use, other_part, zero):
            expected = loss(pair.eager, example.loss_inputs[0]) - base
        assert ablation[group][text] == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_layers_below_are_not_run_again(
    name: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short cut is taken, and gives what the whole model gives."""
    model = make_pair(name, tmp_path_factory.mktemp("zoo")).model
    examples = examples_of(model)
    short = ablate(model, examples, replacements=("zero",))
    monkeypatch.setattr(replay, "block_names", lambda hooked: [])
    whole = ablate(model, examples, replacements=("zero",))
    for kind in model.info.heads:
        np.testing.assert_allclose(
            short.change["zero"][kind], whole.change["zero"][kind], atol=3e-4
        )


def test_a_short_cut_runs_only_what_lies_above(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    model = make_pair("gpt2", tmp_path_factory.mktemp("gpt2")).model
    hooked = HookedModel.of(model)
    again = replay.Replay(hooked, [examples_of(model)[0].loss_inputs[0]])
    again.begin()
    ran: list[str] = []
    for name in ("transformer.h.0.mlp", "transformer.h.1.mlp", "transformer.h.2.mlp"):
        module = hooked.network.get_submodule(name)
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    last = Head("self", 2, 0)
    gates = ablation._Gates(hooked.places(), [("zero", (last,))], None)
    again.again(last, 1, gates)
    assert ran == ["transformer.h.2.mlp"]
    ran.clear()
    again.begin()  # and afterwards everything is as it was
    assert len(ran) == 3


def test_importance_is_the_slope_of_the_loss(pair: Pair) -> None:
    """Beside turning a head's output down a little, in the library's own model."""
    model, examples = pair.model, examples_of(pair.model)
    importances = importance(model, examples)
    assert all(one.grad is None for one in model.network.parameters())
    for kind in model.info.heads:
        layer = model.info.heads[kind][0] - 1
        module, use = places(pair.eager, model, kind, layer)
        width = wide(pair.eager, module) // model.info.heads[kind][1]
        for text, example in enumerate(examples):
            slopes = []
            for step in (-STEP, STEP):
                with scaled(module, use, slice(width, 2 * width), 1 + step):
                    slopes.append(loss(pair.eager, example.loss_inputs[0]))
            slope = abs(slopes[1] - slopes[0]) / (2 * STEP) / example.tokens
            got = importances[kind][layer, 1, text]
            assert got == pytest.approx(slope, rel=0.05, abs=2e-3), (kind, text)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_output_projections_are_found(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    pair = make_pair(name, tmp_path_factory.mktemp("zoo"))
    projections = HookedModel.of(pair.model).projections()
    for kind, modules in outputs_of(pair.eager).items():
        layers, heads = pair.model.info.heads[kind]
        for layer in range(layers):
            module = modules[layer % len(modules)]
            weight = module.weight.detach()
            matrix = weight if type(module).__name__ == "Conv1D" else weight.T
            matrix = matrix.reshape(heads, -1, matrix.shape[-1])
            if name in NORM_BEHIND_ATTENTION:
                matrix = matrix * factor_of_norm(pair.eager, layer)
            got = projections[kind][layer]
            assert got is not None
            np.testing.assert_allclose(got, matrix, atol=MODEL * float(matrix.abs().max().clamp(1)))


NORM_BEHIND_ATTENTION = ("gemma2", "gemma3", "olmo2")
"""Architectures whose `post_attention_layernorm` stands between attention and residual stream."""


def factor_of_norm(eager: Any, layer: int) -> torch.Tensor:
    """Return output / input of the norm behind attention, mean over the positions of the probe."""
    seen = []
    norms = [
        module
        for path, module in eager.named_modules()
        if path.endswith("post_attention_layernorm")
    ]
    handle = norms[layer].register_forward_hook(
        lambda module, inputs, output: seen.append(output / inputs[0])
    )
    with torch.no_grad():
        eager(input_ids=torch.arange(5)[None] + 4)
    handle.remove()
    return seen[0][0].mean(0)


def test_what_cannot_be_asked_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = make_pair("gpt2", tmp_path_factory.mktemp("gpt2")).model
    examples = examples_of(model)
    with pytest.raises(InputError, match="replaced by zero, mean, uniform, not 'half'"):
        ablate(model, examples, replacements=("half",))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no head L9"):
        ablate_groups(model, examples, [(Head("self", 9, 0),)])
    silent = [Example(0, examples[0].encoded)]
    with pytest.raises(InputError, match="trained language head"):
        ablate(model, silent)
    with pytest.raises(InputError, match="anything to predict"):
        importance(model, silent)
    # A text without loss inputs among others is NaN, and the others are what they were.
    changes = ablate(model, [*silent, *examples], replacements=("zero",)).change["zero"]["self"]
    assert np.isnan(changes[..., 0]).all()
    alone = ablate(model, examples, replacements=("zero",)).change["zero"]["self"]
    np.testing.assert_allclose(changes[..., 1:], alone, atol=MODEL)


def test_cancelling_leaves_nothing_behind(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = make_pair("gpt2", tmp_path_factory.mktemp("gpt2")).model
    examples = examples_of(model)
    before = forward_pass.capture_ids(model, [examples[0].encoded])[0]["self"].weights(2, 1)

    class Stop(Exception):
        pass

    shares: list[float] = []

    def stop(share: float) -> None:
        shares.append(share)
        if share > 0.4:
            raise Stop

    with pytest.raises(Stop):
        ablate(model, examples, progress=stop)
    assert shares == sorted(shares) and 0.4 < shares[-1] < 1
    after = forward_pass.capture_ids(model, [examples[0].encoded])[0]["self"].weights(2, 1)
    assert np.array_equal(before, after)
