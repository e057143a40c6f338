"""Encodings of positions, in one attention layer of a BERT whose other weights stay as they are.

Sinusoidal: Vaswani et al. 2017; learned: Devlin et al. 2019; buckets: Raffel et al. 2020 (T5);
rotation: Su et al. 2021 (RoPE); linear biases: Press et al. 2022 (ALiBi).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def bucket_bias(translator: nn.Module, count: int) -> Float[Tensor, "head query key"]:
    """Return the numbers that a T5's encoder adds to its scores."""
    attention = translator.encoder.block[0].layer[0].SelfAttention  # type: ignore[union-attr, index]
    with torch.inference_mode():
        bias: Tensor = attention.compute_bias(count, count)  # type: ignore[operator, union-attr]
    return bias[0].double().cpu()


def attention_output(
    network: nn.Module,
    ids: Sequence[int],
    encoding: str,
    *,
    causal: bool,
    bias: Float[Tensor, "head query key"],
) -> Float[Tensor, "position width"]:
    """Return what the first attention layer of a BERT computes, under another encoding.

    Queries, keys, values and the output projection are the model's. Sinusoids are as long as its
    learned positions on average. `bias` is from `bucket_bias`. Double precision.
    """
    bert = network.bert
    embeddings, layer = bert.embeddings, bert.encoder.layer[0].attention  # type: ignore[union-attr, index]
    count = len(ids)
    places = torch.arange(count)
    vectors = _weight(embeddings.word_embeddings)[list(ids)]  # type: ignore[union-attr]
    vectors = vectors + _weight(embeddings.token_type_embeddings)[0]  # type: ignore[union-attr]
    learned = _weight(embeddings.position_embeddings)  # type: ignore[union-attr]
    if encoding == "learned":
        vectors = vectors + learned[:count]
    elif encoding == "sinusoidal":
        waves = sinusoids(places, vectors.shape[1])
        vectors = vectors + waves * (learned.norm(dim=1).mean() / waves.norm(dim=1).mean())
    norm = embeddings.LayerNorm  # type: ignore[union-attr]
    vectors = nn.functional.layer_norm(
        vectors,
        vectors.shape[1:],
        _weight(norm),
        _bias(norm),
        norm.eps,  # type: ignore[union-attr, arg-type]
    )
    heads = bert.config.num_attention_heads  # type: ignore[union-attr]
    query, key, value = (
        _linear(part, vectors).unflatten(1, (heads, -1)).transpose(0, 1)
        for part in (layer.self.query, layer.self.key, layer.self.value)  # type: ignore[union-attr]
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
    return _linear(layer.output.dense, mixture)  # type: ignore[union-attr]


def _weight(part: nn.Module) -> Tensor:
    weight: Tensor = part.weight  # type: ignore[assignment]
    return weight.detach().double().cpu()


def _bias(part: nn.Module) -> Tensor:
    bias: Tensor = part.bias  # type: ignore[assignment]
    return bias.detach().double().cpu()


def _linear(part: nn.Module, vectors: Tensor) -> Tensor:
    return vectors @ _weight(part).T + _bias(part)
