"""Scan for training, against the library's loop, gradients included."""

import pytest
import torch
from transformers import JambaConfig, JambaForCausalLM
from transformers.models.jamba import modeling_jamba

from training.scan import quick_scan, selective_scan

# Sums of at most a few hundred 32-bit products in another order, with a factor to spare.
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def inputs(length: int) -> dict[str, torch.Tensor]:
    """Return random arguments of a scan of 2 rows, 6 channels and 4 states."""
    generator = torch.Generator().manual_seed(length)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    arguments = {
        "hidden_states": draw(2, 6, length),
        "dt": draw(2, 6, length),
        "A": -draw(6, 4).exp(),
        "B": draw(2, 4, length),
        "C": draw(2, 4, length),
        "D": draw(6),
        "z": draw(2, 6, length),
        "delta_bias": draw(6),
    }
    return {name: value.requires_grad_() for name, value in arguments.items()}


@pytest.mark.parametrize("length", [1, 2, 3, 70])
def test_results_and_gradients_are_those_of_the_library(length):
    arguments = inputs(length)
    expected = modeling_jamba.mamba_selective_scan(**arguments, delta_softplus=True)
    states = selective_scan(**arguments, delta_softplus=True)
    torch.testing.assert_close(states, expected, **CLOSE)
    upstream = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    wanted = torch.autograd.grad((expected * upstream).sum(), list(arguments.values()))
    computed = torch.autograd.grad((states * upstream).sum(), list(arguments.values()))
    for name, one, other in zip(arguments, computed, wanted, strict=True):
        torch.testing.assert_close(one, other, **CLOSE, msg=lambda text, name=name: name + text)


def tiny_jamba() -> JambaForCausalLM:
    """Make a Jamba of one state-space layer and one with attention."""
    torch.manual_seed(0)
    config = JambaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        attn_layer_period=2,
        attn_layer_offset=1,
        num_experts=1,
        num_experts_per_tok=1,
        mamba_d_state=4,
    )
    return JambaForCausalLM(config).eval()


def test_a_jamba_computes_the_same_with_it_and_without():
    model, ids = tiny_jamba(), torch.arange(24).view(2, 12)
    with torch.no_grad():
        expected = model(ids, use_cache=False).logits
        with quick_scan():
            assert modeling_jamba.mamba_selective_scan is selective_scan
            logits = model(ids, use_cache=False).logits
    torch.testing.assert_close(logits, expected, **CLOSE)
    assert modeling_jamba.mamba_selective_scan is not selective_scan


def test_the_library_s_loop_is_back_after_an_error():
    before = modeling_jamba.mamba_selective_scan
    with pytest.raises(ZeroDivisionError), quick_scan():
        1 / 0  # noqa: B018
    assert modeling_jamba.mamba_selective_scan is before
