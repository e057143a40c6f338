"""Losses of a hybrid without a layer: measured on the named layer, and undone after."""

from contextlib import ExitStack

import pytest
import torch

from training import hybrid
from training.evaluate_hybrid import changed, without_head


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return hybrid.new_model().eval()


def logits(network) -> torch.Tensor:
    with torch.no_grad():
        return network(torch.arange(1, 13)[None], use_cache=False).logits


def test_a_replaced_layer_changes_the_output_until_it_is_back(network):
    before = logits(network)
    for block in network.model.layers:
        mixer = getattr(block, "self_attn", None) or block.mamba
        with changed(mixer, torch.zeros_like):
            assert not torch.allclose(logits(network), before)
    assert torch.equal(logits(network), before)


def test_all_heads_at_zero_are_the_attention_at_zero(network):
    attention = network.model.layers[hybrid.ATTENTION_LAYER].self_attn
    with changed(attention, torch.zeros_like):
        expected = logits(network)
    with ExitStack() as stack:
        for head in range(8):
            stack.enter_context(without_head(attention, head))
        torch.testing.assert_close(logits(network), expected)


def test_one_head_at_zero_is_its_columns_of_the_projection_at_zero(network):
    attention = network.model.layers[hybrid.ATTENTION_LAYER].self_attn
    with without_head(attention, 3):
        without = logits(network)
    weight = attention.o_proj.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight[:, 3 * 32 : 4 * 32] = 0
        expected = logits(network)
        weight.copy_(kept)
    torch.testing.assert_close(without, expected)
