"""Views with a module for each layer share all weights and leave the model as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AlbertConfig, AlbertForMaskedLM, BertConfig, BertForMaskedLM
from transformers.models.albert.modeling_albert import AlbertTransformer

import attnviz
from attnviz.attention.separate_layers import layers_share_weights, with_separate_layers
from attnviz.captures.forward_pass import Encoded, capture_ids
from tests.bounds import MODEL_NATS
from tests.experiments.unshared_albert import SIZES, unshared

if TYPE_CHECKING:
    from tests.zoo import Pair

IDS = torch.arange(5, 16)[None]
LAYERS = {"one group": 3, "two groups": 5, "two inner layers": 4, "two of both": 6}


def albert(sizes: str, **more: Any) -> AlbertForMaskedLM:
    """Return a small random ALBERT."""
    torch.manual_seed(0)
    small = {"vocab_size": 40, "embedding_size": 16, "hidden_size": 32, "intermediate_size": 48}
    small |= {"num_attention_heads": 4, "max_position_embeddings": 32}
    network = AlbertForMaskedLM(AlbertConfig(**small | SIZES[sizes] | more)).eval()
    for weights in network.parameters():
        nn.init.normal_(weights, std=0.3)
    return network


def logits(network: nn.Module) -> Tensor:
    """Return the logits of a fixed text."""
    with torch.inference_mode():
        answer: Tensor = network(IDS).logits[0]
    return answer


@pytest.mark.parametrize("sizes", SIZES)
def test_a_view_computes_what_separate_weights_compute(sizes: str) -> None:
    network = albert(sizes)
    view = with_separate_layers(network)
    groups = view.albert.encoder.albert_layer_groups
    assert len(groups) == LAYERS[sizes] == len({id(one.albert_layers[0]) for one in groups})
    for other in (view, unshared(network)):
        torch.testing.assert_close(logits(network), logits(other), atol=MODEL_NATS, rtol=0)


@pytest.mark.parametrize("sizes", SIZES)
def test_a_view_holds_no_weight_twice_and_changes_nothing(sizes: str) -> None:
    network = albert(sizes)
    before, state = (
        logits(network),
        {name: one.clone() for name, one in network.state_dict().items()},
    )
    settings = network.config.to_dict()
    model = attnviz.instrument(network)
    assert model.original is network
    mine = {one.data_ptr() for one in network.parameters()}
    assert {one.data_ptr() for one in model.network.parameters()} == mine
    shares = sizes != "two inner layers"  # two runs, each of another group
    assert layers_share_weights(model.network, model.sites) == shares
    assert {id(one) for one in model.network.buffers()} == {id(one) for one in network.buffers()}
    assert model.info.parameters == sum(one.numel() for one in network.parameters())
    assert network.config.to_dict() == settings
    after = network.state_dict()
    assert after.keys() == state.keys()
    assert all(torch.equal(after[name], one) for name, one in state.items())
    torch.testing.assert_close(logits(network), before, rtol=0, atol=0)
    assert network.config._attn_implementation != "attnviz"


def test_hooks_of_one_do_not_reach_the_other() -> None:
    network = albert("two of both")
    calls: list[str] = []
    group = network.albert.encoder.albert_layer_groups[0]
    earlier = group.albert_layers[0].register_forward_hook(lambda *_: calls.append("earlier"))
    view = with_separate_layers(network)
    earlier.remove()
    first = view.albert.encoder.albert_layer_groups[0].albert_layers[0].attention
    first.register_forward_hook(lambda *_: calls.append("view"))
    group.register_forward_hook(lambda *_: calls.append("model"))
    logits(view)
    # The earlier hook is the view's too: group 0 runs twice, and its first layer with it.
    assert calls == ["view", "earlier", "earlier"]
    calls.clear()
    logits(network)
    assert calls == ["model"] * 2


def test_a_view_follows_training_and_conversion() -> None:
    network = albert("two groups")
    model = attnviz.instrument(network)
    before = logits(model.network)
    network.train()
    network(IDS, labels=IDS).loss.backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    network.eval()
    assert float((logits(model.network) - before).abs().max()) > 0.01
    torch.testing.assert_close(logits(model.network), logits(network), atol=MODEL_NATS, rtol=0)
    network.double()
    assert logits(model.network).dtype == torch.float64
    torch.testing.assert_close(logits(model.network), logits(network), atol=1e-6, rtol=0)
    network.to("meta")  # replaces every parameter and buffer, as another device may
    held = [*model.network.parameters(), *model.network.buffers()]
    assert held and all(one.is_meta for one in held)


def tied_bert(layers: int) -> BertForMaskedLM:
    """Return a BERT that holds one block in every place of its list."""
    torch.manual_seed(0)
    small = {"vocab_size": 40, "hidden_size": 32, "intermediate_size": 48}
    network = BertForMaskedLM(BertConfig(**small, num_attention_heads=4, num_hidden_layers=1))
    for weights in network.parameters():
        nn.init.normal_(weights, std=0.3)
    network.bert.encoder.layer = nn.ModuleList([network.bert.encoder.layer[0]] * layers)
    network.config.num_hidden_layers = layers
    return network.eval()


def test_one_block_in_several_places_of_a_list_is_taken_apart() -> None:
    network = tied_bert(4)
    before = logits(network)
    model = attnviz.instrument(network)
    assert model.info.heads["self"] == (4, 4)
    assert len(set(model.sites.names.values())) == 4 and not model.sites.places().shared
    assert len({id(one) for one in network.bert.encoder.layer}) == 1
    assert {one.data_ptr() for one in model.network.parameters()} == {
        one.data_ptr() for one in network.parameters()
    }
    torch.testing.assert_close(logits(model.network), before, atol=MODEL_NATS, rtol=0)
    states: list[Tensor] = []
    network.bert.encoder.layer[0].register_forward_hook(lambda *given: states.append(given[1][0]))
    logits(network)
    edit = [attnviz.Edit("zero", attnviz.types.Head("self", 2, 1))]
    with attnviz.edited(model, edit):
        changed = logits(model.network)
    # By hand: the third of four runs, without the head's columns.
    runs = 0

    def off(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        nonlocal runs
        runs += 1
        if runs != 3:
            return None
        cut = given[0].clone()
        cut[..., 8:16] = 0
        return (cut, *given[1:])

    network.bert.encoder.layer[0].attention.output.dense.register_forward_pre_hook(off)
    torch.testing.assert_close(changed, logits(network), atol=MODEL_NATS, rtol=0)
    assert runs == 4 and len(states) == 8


class Backwards(AlbertTransformer):
    """Encoder that runs its groups from the last to the first."""

    def forward(self, hidden_states: Tensor, *given: Any, **named: Any) -> Any:
        """Run the groups."""
        groups = self.albert_layer_groups
        self.albert_layer_groups = nn.ModuleList(reversed(list(groups)))
        try:
            return super().forward(hidden_states, *given, **named)
        finally:
            self.albert_layer_groups = groups


def test_an_order_of_another_class_is_not_guessed() -> None:
    network = albert("two groups")
    network.albert.encoder.__class__ = Backwards
    model = attnviz.instrument(network)
    assert model.network is network and model.sites.places().shared
    assert capture_ids(model, [Encoded(tuple(IDS[0].tolist()))])[0]["self"].shape[0] == 5


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5", "bart", "jamba"])
def test_other_models_are_run_themselves(name: str, zoo: Callable[[str], Pair]) -> None:
    model = zoo(name).model
    assert model.original is model.network
    assert not layers_share_weights(model.network, model.sites)
    assert with_separate_layers(model.network) is model.network
