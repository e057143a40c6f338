"""Additions of each head to the residual stream, beside a plain loop over the library's own run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import (
    Dinov2Config,
    Dinov2Model,
    PreTrainedModel,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
)

from attnviz.attention import Added, Additions, Places, following
from attnviz.captures.forward_pass import capture_ids, model_inputs
from attnviz.models import instrument
from attnviz.types import Kind
from tests.zoo import EVERYTHING, Pair, random_texts, shake

Zoo = Callable[[str], Pair]
Place = tuple[Kind, int]


def added_by(model: Any, texts: list[Any]) -> dict[Place, Added]:
    added: dict[Place, Added] = {}
    places = Places(model.sites.kinds, {kind: size[0] for kind, size in model.sites.heads.items()})
    with following(Additions(places, added.__setitem__)):
        capture_ids(model, texts)
    return added


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_architecture_is_followed_to_the_stream(zoo: Zoo, name: str) -> None:
    model = zoo(name).model
    texts = random_texts(model, (12,) if model.sites.sizes else (12, 7))
    plain = capture_ids(model, texts)
    by_place = added_by(model, texts)
    expected = {(kind, layer) for kind, (n, _) in model.info.heads.items() for layer in range(n)}
    assert by_place.keys() == expected
    for (kind, _), added in by_place.items():
        assert len(added.parts) == model.info.heads[kind][1]
        assert all(part.isfinite().all() and part.abs().max() > 0 for part in added.parts)
    # Following changes nothing.
    again = capture_ids(model, texts)
    for one, other in zip(plain, again, strict=True):
        for kind in one:
            np.testing.assert_array_equal(one[kind].weights(0, 0), other[kind].weights(0, 0))


@dataclass(frozen=True)
class Way:
    """Description of how the output of a layer's heads reaches the stream in one architecture.

    Attributes:
        output: name of the output projection, with {} for the layer.
        factor: what multiplies the projection's output: from the model, the layer and the inputs
            of all modules by name.
        kind: of the attention.
    """

    output: str
    factor: Callable[[nn.Module, int, dict[str, Tensor]], Tensor | float] = lambda *_: 1.0
    kind: Kind = "self"


def rms(name: str, plus: float = 0.0) -> Callable[[nn.Module, int, dict[str, Tensor]], Tensor]:
    """Return the factor of an RMSNorm on this input."""

    def factor(network: nn.Module, layer: int, inputs: dict[str, Tensor]) -> Tensor:
        norm = network.get_submodule(name.format(layer))
        eps = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
        mean = inputs[name.format(layer)].float().pow(2).mean(-1, keepdim=True)
        return (plus + norm.weight.float()) / torch.sqrt(mean + eps)  # type: ignore[no-any-return]

    return factor


LLAMA = "model.layers.{}.self_attn.o_proj"
BEHIND = "model.layers.{}.post_attention_layernorm"
WAYS = {
    "gpt2": Way("transformer.h.{}.attn.c_proj"),
    "bert": Way("bert.encoder.layer.{}.attention.output.dense"),
    "llama": Way(LLAMA),
    "gpt_neox": Way("gpt_neox.layers.{}.attention.dense"),  # beside its MLP
    "cohere2": Way(LLAMA),  # beside its MLP, in another order
    "opt": Way("model.decoder.layers.{}.self_attn.out_proj"),
    "granite": Way(LLAMA, lambda network, *_: network.config.residual_multiplier),
    "gemma2": Way(LLAMA, rms(BEHIND, plus=1.0)),
    "gemma3": Way(LLAMA, rms(BEHIND, plus=1.0)),
    "olmo2": Way(LLAMA, rms(BEHIND)),
    "t5": Way("decoder.block.{}.layer.1.EncDecAttention.o", kind="cross"),
    "bart": Way("model.encoder.layers.{}.self_attn.out_proj", kind="encoder"),
    "vit": Way("vit.layers.{}.attention.o_proj"),
}


def by_hand(
    network: PreTrainedModel, way: Way, layers: int, heads: int, inputs: dict[str, Tensor]
) -> list[list[Tensor]]:
    """Compute each head's part of each layer, from the inputs of the library's own modules."""
    seen: dict[str, Tensor] = {}

    def noting(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def note(_: nn.Module, given: tuple[Any, ...]) -> None:
            if given and isinstance(given[0], Tensor):
                seen.setdefault(name, given[0])

        return note

    handles = [
        module.register_forward_pre_hook(noting(name)) for name, module in network.named_modules()
    ]
    with torch.inference_mode():
        network(**inputs)
    for handle in handles:
        handle.remove()
    by_layer = []
    for layer in range(layers):
        name = way.output.format(layer)
        module, given = network.get_submodule(name), seen[name]
        size = given.shape[-1] // heads
        parts = []
        for head in range(heads):
            alone = torch.zeros_like(given)
            alone[..., head * size : (head + 1) * size] = given[
                ..., head * size : (head + 1) * size
            ]
            part = module(alone) - module(torch.zeros_like(given))
            parts.append((part * way.factor(network, layer, seen)).detach())
        by_layer.append(parts)
    return by_layer


def compare(added: dict[Place, Added], expected: list[list[Tensor]], kind: Kind) -> None:
    for layer, parts in enumerate(expected):
        for ours, theirs in zip(added[kind, layer].parts, parts, strict=True):
            # A bias that is added and taken off again costs theirs some digits.
            largest = float(theirs.abs().max())
            assert largest > 0
            assert float((ours - theirs.reshape(ours.shape)).abs().max()) < 1e-5 * max(largest, 1)


@pytest.mark.parametrize("name", WAYS)
def test_parts_are_those_of_a_plain_loop(zoo: Zoo, name: str) -> None:
    pair, way = zoo(name), WAYS[name]
    texts = random_texts(pair.model, (11,))
    layers, heads = pair.model.info.heads[way.kind]
    expected = by_hand(pair.eager, way, layers, heads, model_inputs(pair.model, texts))
    compare(added_by(pair.model, texts), expected, way.kind)


def test_a_gate_before_the_projection_is_part_of_what_is_added() -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 48, "vocab_size": 60}
    sizes |= {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8}
    sizes |= {"linear_value_head_dim": 8, "num_experts": 2, "num_experts_per_tok": 1}
    sizes |= {"moe_intermediate_size": 16, "shared_expert_intermediate_size": 16}
    network = Qwen3NextForCausalLM(Qwen3NextConfig(**sizes)).eval()
    shake(network)
    model = instrument(network)
    ids = torch.arange(9)[None] + 5
    added: dict[Place, Added] = {}
    with (
        following(Additions(Places(model.sites.kinds, {"self": 1}), added.__setitem__)),
        torch.inference_mode(),
    ):
        network(input_ids=ids)
    way = Way("model.layers.3.self_attn.o_proj")
    # The projection's input is the gated output: the loop's parts are those behind the gate.
    compare(added, by_hand(network, way, 1, 4, {"input_ids": ids}), "self")
    projection = added["self", 0].projection
    assert projection is not None and projection.shape == (4, 16, 32)


def test_a_layer_scale_is_part_of_what_is_added() -> None:
    config = Dinov2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=12,
        patch_size=4,
        layerscale_value=0.01,
    )
    network = Dinov2Model(config).eval()
    shake(network)
    scales = [network.encoder.layer[layer].layer_scale1.lambda1 for layer in range(2)]
    model = instrument(network)
    pixels = torch.randn(1, 3, 12, 12)
    added: dict[Place, Added] = {}
    places = Places(model.sites.kinds, {"self": 2})
    with following(Additions(places, added.__setitem__)), torch.inference_mode():
        network(pixel_values=pixels)
    way = Way("encoder.layer.{}.attention.o_proj", lambda _, layer, __: scales[layer].detach())
    compare(added, by_hand(network, way, 2, 4, {"pixel_values": pixels}), "self")
    effective = added["self", 1].effective_projection()
    assert effective is not None
    dense = network.encoder.layer[1].attention.o_proj.weight
    expected = (dense.T * scales[1]).detach().view(4, 8, 32)
    torch.testing.assert_close(effective, expected, rtol=1e-4, atol=1e-6)


def test_the_sum_of_all_parts_and_biases_is_what_the_layer_adds(zoo: Zoo) -> None:
    # Gemma 2 has no biases: what stands between two norms' inputs is the sum of the parts.
    pair = zoo("gemma2")
    texts = random_texts(pair.model, (11,))
    seen: dict[str, Tensor] = {}
    for name in ("input_layernorm", "pre_feedforward_layernorm"):
        pair.eager.get_submodule(f"model.layers.1.{name}").register_forward_pre_hook(
            lambda _, given, name=name: seen.update({name: given[0]})
        )
    with torch.inference_mode():
        pair.eager(**model_inputs(pair.model, texts))
    added = seen["pre_feedforward_layernorm"] - seen["input_layernorm"]
    parts = added_by(pair.model, texts)["self", 1].parts
    torch.testing.assert_close(torch.stack(parts).sum(0), added, rtol=1e-4, atol=1e-5)


class Block(nn.Module):
    """Attention's output by an operation that nothing can be said of, then into the stream."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.between = between

    def forward(self, stream: Tensor, heads: Tensor) -> Tensor:
        return stream + self.between(heads.flatten(-2))


BETWEEN: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "identity": (lambda x: x, True),
    "two matrices": (lambda x: x @ torch.eye(8)[:, :3] @ torch.ones(3, 8), True),
    "in place": (lambda x: (x.clone() @ torch.eye(8)).mul_(0.5).add_(torch.ones(8)), True),
    "layer norm": (lambda x: nn.functional.layer_norm(x @ torch.eye(8), (8,)), True),
    "rms norm": (lambda x: nn.functional.rms_norm(x, (8,)), True),
    "norm by hand": (lambda x: (x - x.mean(-1, keepdim=True)) / x.var(-1, keepdim=True), True),
    "einsum": (lambda x: torch.einsum("bqd,de->bqe", x, torch.ones(8, 8)), True),
    "halves": (lambda x: torch.cat([x[..., 4:], -x[..., :4]], -1), True),
    "split": (lambda x: torch.cat(x.split(4, -1)[::-1], -1), True),
    "transposed": (lambda x: x.transpose(1, 2).contiguous().transpose(1, 2), True),
    "negative": (lambda x: torch.zeros(1, 8) - x, True),
    "a nonlinear function": (lambda x: x.tanh(), False),
    "a square": (lambda x: x * x, False),
    "a gate made of itself": (lambda x: x * x.sigmoid(), False),
    "a gate made of a part of itself": (lambda x: x * (x @ torch.ones(8, 8)).relu(), False),
}


@pytest.mark.parametrize("name", BETWEEN)
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_operations_between_attention_and_stream(name: str, mode: Any) -> None:
    between, followed = BETWEEN[name]
    block = Block(between)
    torch.manual_seed(0)
    stream, heads = torch.randn(2, 5, 8), torch.randn(2, 5, 4, 2)
    reports: list[Added] = []

    class Anywhere:
        def of(self, call: Any) -> Place:
            return "self", 0

    additions = Additions(Anywhere(), lambda _, added: reports.append(added))  # type: ignore[arg-type]
    with mode(), additions:
        output = block(stream.clone(), additions.output(None, heads.clone()))  # type: ignore[arg-type]
    additions.finish()
    assert bool(reports) == followed
    if not followed:
        return
    total = torch.stack(reports[0].parts).sum(0)
    constant = 1.0 if name == "in place" else 0.0
    torch.testing.assert_close(output - stream, total + constant, rtol=1e-5, atol=1e-5)
    # One head alone, for operations without statistics.
    if "norm" not in name:
        alone = torch.zeros_like(heads)
        alone[:, :, 2] = heads[:, :, 2]
        expected = between(alone.flatten(-2)) - between(torch.zeros(2, 5, 8))
        torch.testing.assert_close(reports[0].parts[2], expected, rtol=1e-5, atol=1e-5)
