"""Small models of any text architecture of the library, built from its configuration's defaults.

A configuration is made small by the names of its settings: every count of layers, heads, experts
and numbers per position gets a small value, every token id one that exists. What no rule covers is
in `SETTINGS`, by architecture.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

__all__ = ["POSITIONS", "shake", "small_config"]

POSITIONS = 160
LAYERS, HEADS, KEY_HEADS, HEAD_SIZE = 4, 4, 2, 8
WIDTH, INNER, LATENT = 32, 48, 16
EXTRA_WORDS = 64  # room behind the vocabulary for the ids of pictures and sounds

SIZES: Mapping[str, int] = {
    name: size
    for size, names in (
        (
            LAYERS,
            """
            num_hidden_layers num_layers n_layer n_layers num_decoder_layers
            encoder_layers decoder_layers num_encoder_layers num_blocks depth
            num_layers_per_stack t2u_encoder_layers t2u_decoder_layers
            speech_encoder_layers
            """,
        ),
        (
            HEADS,
            """
            num_attention_heads n_head n_heads num_heads encoder_attention_heads
            decoder_attention_heads num_encoder_attention_heads
            num_decoder_attention_heads swa_num_attention_heads linear_num_value_heads
            mamba_n_heads mamba_num_heads linear_num_heads index_n_heads
            t2u_encoder_attention_heads t2u_decoder_attention_heads
            speech_encoder_attention_heads num_self_attention_heads
            num_cross_attention_heads
            """,
        ),
        (
            WIDTH,
            """
            hidden_size d_model n_embd dim emb_dim embedding_size embedding_dim
            word_embed_proj_dim pooler_hidden_size attention_hidden_size lru_width
            true_hidden_size d_latents backbone_hidden_size hidden_size_global audio_hidden_size
            """,
        ),
        (
            HEAD_SIZE,
            """
            head_dim d_kv dim_head d_head v_head_dim linear_key_head_dim
            linear_value_head_dim swa_head_dim index_head_dim linear_head_dim
            attention_head_size kv_channels qk_nope_head_dim mamba_d_head mamba_head_dim
            rotary_dim global_head_dim
            """,
        ),
        (
            INNER,
            """
            intermediate_size ffn_dim d_ff dff dim_ff hidden_dim d_inner encoder_ffn_dim
            decoder_ffn_dim moe_intermediate_size ffn_hidden_size
            shared_expert_intermediate_size shared_experts_intermediate_size
            intermediate_size_mlp dense_intermediate_size expert_ffn_hidden_size
            shared_intermediate_size moe_shared_expert_intermediate_size
            t2u_encoder_ffn_dim t2u_decoder_ffn_dim speech_encoder_intermediate_size
            """,
        ),
        (
            LATENT,
            """
            q_lora_rank kv_lora_rank o_lora_rank hidden_size_per_layer_input laurel_rank
            embedding_rank hc_lowrank gated_norm_rank state_size mamba_d_state
            ssm_state_size entity_emb_size prompt_mid_dim d_rel intra_bottleneck_size
            ple_embed_dim time_step_rank mamba_dt_rank
            """,
        ),
        (
            POSITIONS,
            """
            max_position_embeddings n_positions n_ctx max_seq_len model_max_length
            max_target_positions max_encoder_position_embeddings
            max_2d_position_embeddings max_decoder_position_embeddings
            t2u_max_position_embeddings
            """,
        ),
        (
            4,
            """
            num_experts num_local_experts n_routed_experts moe_num_experts
            """,
        ),
        (
            2,
            """
            num_experts_per_tok moe_topk moe_k num_experts_per_token moe_top_k
            """,
        ),
        (
            1,
            """
            n_group topk_group num_expert_group n_groups mamba_n_groups o_groups
            num_shared_experts n_shared_experts moe_num_shared_experts pretraining_tp
            first_k_dense_replace num_dense_layers num_feedforward_networks
            """,
        ),
        (KEY_HEADS, "linear_num_key_heads"),
        (4, "qk_rope_head_dim patch_size"),
        (HEAD_SIZE + 4, "qk_head_dim"),
        (2, "mamba_expand"),
        (16, "mamba_chunk_size chunk_size rel_extent"),
        (5, "sliding_window sliding_window_size window_size"),
        (5, "attention_window_size attention_chunk_size"),
        (8, "local_attention num_mel_bins keep_window_size"),
        (6, "index_topk"),
        (4, "index_block_size"),
        (2, "index_topk_blocks"),
        (HEAD_SIZE, "query_pre_attn_scalar"),
        (10, "entity_vocab_size"),
        (12, "image_size"),
        (64, "expert_capacity"),
        (30, "max_source_positions"),
        (20, "unit_hifi_gan_vocab_size"),
        (40, "t2u_vocab_size"),
    )
    for name in names.split()
}

KEY_HEAD_NAMES = ("num_key_value_heads", "num_kv_heads", "swa_num_key_value_heads")
VOCABULARIES = (
    "vocab_size",
    "decoder_vocab_size",
    "src_vocab_size",
    "tgt_vocab_size",
    "vocab_size_per_layer_input",
    "unpadded_vocab_size",
)

SSM = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_ssm": 64}
TWO_KINDS = ["full_attention", "sliding_attention"]

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "bamba": SSM | {"attn_layer_indices": [1, 3]},
    "blt": {"encoder_hash_byte_group_vocab": 50},
    "cohere_compass_text": {
        "layer_types": TWO_KINDS,
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 1e4} for kind in TWO_KINDS
        },
    },
    "dbrx": {"attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0}},
    "deepseek_v2": {"num_experts_per_tok": 2, "n_routed_experts": 4},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "dots3_note_text": {"head_dim": 12},
    "encoder-decoder": {"decoder_start_token_id": 0, "pad_token_id": 0},
    "esm": {"pad_token_id": 0, "mask_token_id": 4},
    "falcon_h1": SSM,
    "gemma3n_text": {
        "layer_types": TWO_KINDS * 2,
        "num_kv_shared_layers": 2,
        "intermediate_size": INNER,
        "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0],
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "num_layers": 4},
    "granitemoehybrid": SSM | {"layer_types": ["mamba", "attention"] * 2},
    "hrm_text": {"num_hidden_layers": 2, "num_layers_per_stack": None},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2},
    "led": {"attention_window": 4},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2, "num_hidden_layers": 4},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "mobilebert": {"true_hidden_size": LATENT},
    "minimax_m3_vl_text": {"layer_types": ["minimax_m3_sparse", "full_attention"] * 2},
    "neomme": {"head_dim": 16},
    "qwen4_exp_text": {
        "indexer_n_heads": 4,
        "indexer_kv_heads": 1,
        "indexer_head_dim": HEAD_SIZE,
        "indexer_budget": 8,
        "indexer_compress_ratio": 4,
        "output_gate_type": "sigmoid",
    },
    "reformer": {
        "axial_pos_embds": False,
        "attn_layers": ["local", "lsh"],
        "num_hidden_layers": 2,
        "num_buckets": 4,
    },
    "xmod": {"languages": ["en"], "default_language": "en"},
    "zamba": {
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "attention_hidden_size": 2 * WIDTH,
        "attention_head_dim": 2 * HEAD_SIZE,
    },
    "zamba2": {
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "mamba_headdim": HEAD_SIZE,
        "n_mamba_heads": 8,
        "attention_hidden_size": 2 * WIDTH,
        "attention_head_dim": 2 * HEAD_SIZE,
        "adapter_rank": 8,
    },
    "zaya": {"num_experts_per_tok": 1},
}
"""Settings of single architectures: what their code needs and no rule above gives."""


def small_config(
    config_class: type[PreTrainedConfig], words: int, roles: Mapping[str, int | None]
) -> PreTrainedConfig:
    """Return a small configuration of an architecture.

    Args:
        config_class: the library's configuration class of the architecture.
        words: size of the tokenizer's vocabulary.
        roles: "pad", "bos" and "eos" with their ids, None where the tokenizer has no such token.
    """
    return config_class(**_settings(config_class, words, roles))


def _settings(
    config_class: type[PreTrainedConfig], words: int, roles: Mapping[str, int | None]
) -> dict[str, Any]:
    """Return the settings that make a configuration of this class small."""
    default = config_class()
    settings: dict[str, Any] = {}
    extra = words
    for name, value in default.to_dict().items():
        part = vars(default).get(name)
        role = name.removeprefix("forced_").removesuffix("_token_id")
        if isinstance(part, PreTrainedConfig):
            settings[name] = _settings(type(part), words, roles) | {"model_type": part.model_type}
        elif name == "layer_types" and value:
            settings[name] = _every_kind(value)
        elif name == "per_layer_config":
            settings[name] = {}
        elif name in VOCABULARIES:
            settings[name] = words + EXTRA_WORDS
        elif name == "head_dim":
            rotated = vars(default).get("qk_rope_head_dim")
            settings[name] = SIZES["qk_rope_head_dim"] if value and value == rotated else HEAD_SIZE
        elif name in KEY_HEAD_NAMES:
            settings[name] = KEY_HEADS if _shares_keys(default, value) else HEADS
        elif role in roles and value is not None:
            settings[name] = roles[role]
        elif isinstance(value, bool) or not isinstance(value, int):
            continue
        elif name == "decoder_start_token_id":
            settings[name] = 0
        elif name.endswith(("_token_id", "_token_index", "_index")):
            extra += 1
            settings[name] = extra
        elif name in SIZES and value > 0:
            settings[name] = SIZES[name]
    settings |= SETTINGS.get(config_class.model_type, {})
    layers = settings.get("layer_types") or settings.get("layers_block_type")
    if layers:
        names = [
            name for name in ("num_hidden_layers", "n_layer", "num_layers") if name in settings
        ]
        settings |= dict.fromkeys(names, len(layers))
    return settings


def _shares_keys(default: PreTrainedConfig, key_heads: int | None) -> bool:
    """Return whether several query heads share a key head by default."""
    heads = default.to_dict().get("num_attention_heads")
    return isinstance(heads, int) and key_heads is not None and 0 < key_heads < heads


def _every_kind(layers: list[str]) -> list[str]:
    """Return each kind of layer in the order of the default; twice where they are one or two."""
    kinds = list(dict.fromkeys(layers))
    return kinds * 2 if len(kinds) < 3 else kinds


LOOKS = re.compile(r"query|key|qkv|c_attn|\b[qk]_|\b[qk]\.", re.IGNORECASE)


def shake(network: PreTrainedModel) -> None:
    """Draw random weights with which attention is far from uniform, in every layer.

    Only queries and keys are made large: large values would make all positions alike after a layer
    or two. T5 does not scale its scores, and gets weights of the usual size.
    """
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weights in network.named_parameters():
            noise = torch.randn(weights.shape, generator=generator)
            looks = LOOKS.search(name) and "t5" not in network.config.model_type
            if weights.dim() < 2:
                weights.add_(0.1 * noise)  # norms, biases, sinks
            else:
                weights.copy_((2.0 if looks else 1.0) * noise / min(weights.shape[-2:]) ** 0.5)
