"""Encodings of positions, in one attention layer of a BERT whose other weights stay as they are.

Sinusoidal: Vaswani et al. 2017; learned: Devlin et al. 2019; buckets: Raffel et al. 2020 (T5);
rotation: Su et al. 2021 (RoPE); linear biases: Press et al. 2022 (ALiBi).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

__all__ = [
    "ENCODINGS",
    "alibi_slopes",
    "attention_output",
    "bucket_bias",
    "rotated",
    "sinusoids",
]

ENCODINGS = ("none", "sinusoidal", "learned", "T5 buckets", "RoPE", "ALiBi")
"""In the order of the lesson."""

BASE = 10_000.0
"""Base of the wavelengths of sinusoids and rotations, as their authors chose it."""


def sinusoids(positions: Int[Tensor, " position"], width: int) -> Float[Tensor, "position width"]:
    """Return sines in the even columns and cosines in the odd ones, of falling frequency."""
    speeds = BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = positions.double()[:, None] * speeds
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def rotated(
    vectors: Float[Tensor, "... position width"],
    positions: Int[Tensor, " position"],
    base: float = BASE,
) -> Float[Tensor, "... position width"]:
    """Return vectors whose entries i and i + width/2 are turned by position · base^(−2i/width)."""
    width = vectors.shape[-1]
    speeds = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = positions.double()[:, None] * speeds
    first, second = vectors.double().chunk(2, dim=-1)
    cosine, sine = angles.cos(), angles.sin()
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


def alibi_slopes(heads: int) -> Float[Tensor, " head"]:
    """Return 2^(−8/heads), 2^(−16/heads), … to 2^(−8); the number of heads is a power of two."""
    return 2.0 ** (-8.0 / heads * torch.arange(1, heads + 1, dtype=torch.float64))


def bucket_bias(translator: Any, count: int) -> Float[Tensor, "head query key"]:
    """Return the numbers that a T5 of the library adds to the scores of its encoder."""
    attention = translator.encoder.block[0].layer[0].SelfAttention
    with torch.inference_mode():
        bias: Tensor = attention.compute_bias(count, count)
    return bias[0].double().cpu()


def attention_output(
    network: Any,
    ids: Sequence[int],
    encoding: str,
    *,
    causal: bool,
    bias: Float[Tensor, "head query key"],
) -> Float[Tensor, "position width"]:
    """Return what the first attention layer of a BERT computes, under another encoding.

    `network` is a BERT of the library; queries, keys, values and the output projection are its
    weights. Sinusoids are as long as its
    learned positions on average. `bias` is from `bucket_bias`. Double precision.
    """
    bert = network.bert
    embeddings, layer = bert.embeddings, bert.encoder.layer[0].attention
    count = len(ids)
    places = torch.arange(count)
    vectors = _weight(embeddings.word_embeddings)[list(ids)]
    vectors = vectors + _weight(embeddings.token_type_embeddings)[0]
    learned = _weight(embeddings.position_embeddings)
    if encoding == "learned":
        vectors = vectors + learned[:count]
    elif encoding == "sinusoidal":
        waves = sinusoids(places, vectors.shape[1])
        vectors = vectors + waves * (learned.norm(dim=1).mean() / waves.norm(dim=1).mean())
    norm = embeddings.LayerNorm
    vectors = nn.functional.layer_norm(
        vectors,
        vectors.shape[1:],
        _weight(norm),
        _bias(norm),
        norm.eps,
    )
    heads = bert.config.num_attention_heads
    query, key, value = (
        _linear(part, vectors).reshape(count, heads, -1).transpose(0, 1)
        for part in (layer.self.query, layer.self.key, layer.self.value)
    )
    if encoding == "RoPE":
        query, key = rotated(query, places), rotated(key, places)
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    if encoding == "T5 buckets":
        scores = scores + bias[:, :count, :count]
    elif encoding == "ALiBi":
        apart = (places[:, None] - places).abs()
        scores = scores - alibi_slopes(heads)[:, None, None] * apart
    if causal:
        scores = scores.masked_fill(places > places[:, None], -math.inf)
    mixture = (scores.softmax(-1) @ value).transpose(0, 1).flatten(1)
    return _linear(layer.output.dense, mixture)


def _weight(part: Any) -> Tensor:
    weight: Tensor = part.weight
    return weight.detach().double().cpu()


def _bias(part: Any) -> Tensor:
    bias: Tensor = part.bias
    return bias.detach().double().cpu()


def _linear(part: Any, vectors: Tensor) -> Tensor:
    return vectors @ _weight(part).T + _bias(part)
