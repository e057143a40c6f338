"""Layers of published models beside the library's configurations and published figures."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import DeepseekV3Config, Gemma2Config, JambaConfig, LlamaConfig, MistralConfig

from attnviz.efficient import kv_cache_bytes
from attnviz.efficient.layer_stack import (
    attention_layer,
    latent_layer,
    layer_bytes,
    receptive_fields,
    state_layer,
)
from attnviz.efficient.published_stacks import PUBLISHED
from attnviz.errors import InputError


def size(name: str, tokens: int, **options: float) -> float:
    return float(layer_bytes(PUBLISHED[name].layers, tokens, **options).sum())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "tokens", "published"),
    [
        ("Llama 2 7B", 4096, 2_147_483_648),
        ("Mistral 7B", 4096, 536_870_912),
        ("Mistral 7B", 100_000, 536_870_912),  # its window
        ("Llama 2 70B", 4096, 1_342_177_280),
        ("Llama 3 8B", 131_072, 17_179_869_184),
        ("DeepSeek-V3", 1, 70_272),
        ("DeepSeek-V3", 1000, 70_272_000),
    ],
)
def test_published_sizes(name: str, tokens: int, published: int) -> None:
    assert size(name, tokens) == published


def test_the_sum_of_layers_is_the_formula() -> None:
    shape = {"layers": 32, "kv_heads": 8, "d_head": 128}
    for tokens in (0, 1, 500, 5000):
        for batch, width in ((1, 2), (3, 4), (2, 0.5)):
            size_now = size("Mistral 7B", tokens, batch=batch, bytes_per_number=width)
            assert size_now == kv_cache_bytes(
                **shape, tokens=tokens, batch=batch, bytes_per_number=width, window=4096
            )


def test_shapes_are_those_of_the_library_s_configurations() -> None:
    llama, mistral = LlamaConfig(), MistralConfig()
    assert len(PUBLISHED["Llama 2 7B"].layers) == llama.num_hidden_layers
    width = llama.hidden_size // llama.num_attention_heads
    assert PUBLISHED["Llama 2 7B"].layers[0] == attention_layer(llama.num_key_value_heads, width)
    assert PUBLISHED["Mistral 7B"].layers == (
        attention_layer(
            mistral.num_key_value_heads,
            mistral.hidden_size // mistral.num_attention_heads,
            mistral.sliding_window,
        ),
    ) * int(mistral.num_hidden_layers)
    deep = DeepseekV3Config()
    assert PUBLISHED["DeepSeek-V3"].layers == (
        latent_layer(deep.kv_lora_rank, deep.qk_rope_head_dim),
    ) * int(deep.num_hidden_layers)
    gemma = Gemma2Config()
    assert PUBLISHED["Gemma 2 2B"].layers == tuple(
        attention_layer(
            gemma.num_key_value_heads,
            gemma.head_dim,
            gemma.sliding_window if kind == "sliding_attention" else None,
        )
        for kind in gemma.layer_types
    )
    jamba = JambaConfig()
    kinds = {
        "attention": attention_layer(
            jamba.num_key_value_heads, jamba.hidden_size // jamba.num_attention_heads
        ),
        "mamba": state_layer(
            jamba.mamba_expand * jamba.hidden_size, jamba.mamba_d_state, jamba.mamba_d_conv
        ),
    }
    assert PUBLISHED["Jamba"].layers == tuple(kinds[one] for one in jamba.layers_block_type)


def test_hybrids_keep_a_small_part_of_the_cache() -> None:
    full = float(layer_bytes((attention_layer(8, 128),) * 32, 262_144).sum())
    assert size("Jamba", 262_144) == pytest.approx(full / 8, rel=0.01)  # 4 of 32 layers
    assert size("StripedHyena 7B", 262_144) == pytest.approx(full / 2, rel=0.01)
    kept = layer_bytes(PUBLISHED["Jamba"].layers, 10)
    assert np.array_equal(kept[:4], layer_bytes(PUBLISHED["Jamba"].layers, 10_000)[:4])


def test_windows_add_up_and_full_layers_reach_all() -> None:
    window, full, state = attention_layer(1, 4, 5), attention_layer(1, 4), state_layer(4, 2)
    assert receptive_fields((window,) * 3).tolist() == [4, 8, 12]
    assert receptive_fields((window, full, window)).tolist() == [4, np.inf, np.inf]
    assert receptive_fields((window, state)).tolist() == [4, np.inf]


def test_wrong_numbers_get_a_sentence() -> None:
    with pytest.raises(InputError, match="at least 0"):
        layer_bytes((attention_layer(1, 2),), -1)
    with pytest.raises(InputError, match="at least one token"):
        attention_layer(1, 2, 0)
