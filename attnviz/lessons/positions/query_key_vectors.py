"""Queries and keys of a head in the first layers of the models whose positions are shown."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.models import Model

__all__ = ["LEARNED_HEAD", "ROTATION_HEAD", "learned_vectors", "rotation_vectors"]

LEARNED_HEAD, ROTATION_HEAD = 7, 1
"""Heads of layer 0 whose scores are shown: the GPT's previous-token head; a head of the Llama."""


def learned_vectors(
    model: Model, ids: Sequence[int], head: int, shift: int = 0
) -> tuple[Float[Tensor, "position width"], Float[Tensor, "position width"]]:
    """Return queries and keys of a head in a GPT's first layer; positions begin at `shift`."""
    body = model.network.transformer
    with torch.inference_mode():
        device = model.network.device
        places = torch.arange(shift, shift + len(ids), device=device)
        vectors = body.wte(torch.tensor(list(ids), device=device)) + body.wpe(places)
        block = body.h[0]
        projected = block.attn.c_attn(block.ln_1(vectors)).double().cpu()
    query, key, _ = projected.chunk(3, dim=-1)
    width = query.shape[-1] // model.network.config.n_head
    part = slice(head * width, (head + 1) * width)
    return query[:, part], key[:, part]


def rotation_vectors(
    model: Model, text: str
) -> tuple[Float[Tensor, "position width"], Float[Tensor, "position width"]]:
    """Return queries and keys of a head in a Llama's first layer, before they are turned."""
    body = model.network.model
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    layer = body.layers[0]
    with torch.inference_mode():
        vectors = body.embed_tokens(torch.tensor(ids, device=model.network.device))
        vectors = layer.input_layernorm(vectors)
        query = layer.self_attn.q_proj(vectors).double().cpu()
        key = layer.self_attn.k_proj(vectors).double().cpu()
    config = model.network.config
    shared = config.num_attention_heads // config.num_key_value_heads
    return (
        query.unflatten(1, (config.num_attention_heads, -1))[:, ROTATION_HEAD],
        key.unflatten(1, (config.num_key_value_heads, -1))[:, ROTATION_HEAD // shared],
    )
