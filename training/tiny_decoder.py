"""Small decoder whose only interchangeable part is the encoding of positions.

Decoders of one seed start with the same weights, whatever their encoding, so that a difference
between their losses comes from the encoding. Library code computes RoPE and T5's buckets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb
from transformers.models.t5.modeling_t5 import T5Attention

from attnviz.lessons.positions.position_encodings import BASE, ENCODINGS, alibi_slopes, sinusoids

__all__ = ["DecoderSize", "TinyDecoder"]

SPREAD = 0.1
"""Standard deviation of the vectors of tokens and of learned positions at the start."""


@dataclass(frozen=True)
class DecoderSize:
    """Sizes of a tiny decoder.

    T5 has 32 buckets up to distance 128 for texts of 512 tokens. Fewer buckets up to half of
    `length` keep every bucket in use during training.
    """

    vocabulary: int = 256
    length: int = 64
    width: int = 128
    heads: int = 4
    layers: int = 3
    buckets: int = 16

    @property
    def farthest_bucket(self) -> int:
        """Return the distance from which on all distances share T5's last bucket."""
        return self.length // 2


class TinyDecoder(nn.Module):
    """Decoder with pre-norm layers, untied output and one encoding of positions.

    Args:
        encoding: one of `ENCODINGS` of the lesson about positions.
        size: sizes of the model.
        seed: of the weights at the start.

    Raises:
        ValueError: unknown encoding.
    """

    def __init__(self, encoding: str, size: DecoderSize, seed: int) -> None:
        if encoding not in ENCODINGS:
            raise ValueError(f"unknown encoding {encoding!r}; possible are {', '.join(ENCODINGS)}")
        super().__init__()
        torch.manual_seed(seed)
        self.encoding, self.size = encoding, size
        self.embed_tokens = nn.Embedding(size.vocabulary, size.width)
        nn.init.normal_(self.embed_tokens.weight, std=SPREAD)
        self.layers = nn.ModuleList(_Layer(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width)
        self.lm_head = nn.Linear(size.width, size.vocabulary, bias=False)
        nn.init.normal_(self.lm_head.weight, std=0.02)
        # Last, so that all other weights are the same under every encoding.
        if encoding == "learned":
            self.wpe = nn.Embedding(size.length, size.width)
            nn.init.normal_(self.wpe.weight, std=SPREAD)
        elif encoding == "T5 buckets":
            self.relative_attention_bias = nn.Embedding(size.buckets, size.heads)
            nn.init.zeros_(self.relative_attention_bias.weight)
        elif encoding == "RoPE":
            self.rotation = LlamaRotaryEmbedding(
                LlamaConfig(
                    hidden_size=size.width,
                    num_attention_heads=size.heads,
                    max_position_embeddings=size.length,
                    rope_parameters={"rope_type": "default", "rope_theta": BASE},
                )
            )

    def forward(self, ids: Int[Tensor, "row position"]) -> Float[Tensor, "row position token"]:
        """Return logits of the next token.

        Raises:
            IndexError: learned positions, and more tokens than the table has.
        """
        count = ids.shape[1]
        places = torch.arange(count, device=ids.device)
        states = self.embed_tokens(ids)
        if self.encoding == "learned":
            states = states + self.wpe(places)
        elif self.encoding == "sinusoidal":
            waves = sinusoids(places, self.size.width).to(states)
            states = states + math.sqrt(2) * SPREAD * waves  # as large as learned ones
        turns = self.rotation(states, places[None]) if self.encoding == "RoPE" else None
        added = self._added(places)
        for layer in self.layers:
            states = layer(states, added, turns)
        logits: Tensor = self.lm_head(self.norm(states))
        return logits

    def extended(self, length: int, seed: int) -> TinyDecoder:
        """Return a decoder with a table of `length` learned positions.

        The positions after the trained ones are as they would be at the start: random, of the
        spread that the trained ones had. Weights other than the table are shared.
        """
        longer = TinyDecoder(self.encoding, self.size, seed)
        longer.load_state_dict(self.state_dict())
        random = torch.Generator().manual_seed(seed)
        rows = torch.randn(length - self.size.length, self.size.width, generator=random)
        table = torch.cat([self.wpe.weight.detach(), SPREAD * rows])
        longer.wpe = nn.Embedding(length, self.size.width, _weight=table)
        return longer

    def _added(self, places: Int[Tensor, " position"]) -> Float[Tensor, "head query key"]:
        """Return what is added to scores: the causal mask, and a bias by distance."""
        apart = places[:, None] - places
        added = torch.zeros(self.size.heads, len(places), len(places), device=places.device)
        if self.encoding == "ALiBi":
            added = -alibi_slopes(self.size.heads).to(added)[:, None, None] * apart
        elif self.encoding == "T5 buckets":
            buckets = T5Attention._relative_position_bucket(
                -apart,
                bidirectional=False,
                num_buckets=self.size.buckets,
                max_distance=self.size.farthest_bucket,
            )
            added = self.relative_attention_bias(buckets).permute(2, 0, 1)
        return added.masked_fill(apart < 0, -math.inf)


class _Layer(nn.Module):
    """Attention and a feed-forward part, each after a norm and added to the residual stream."""

    def __init__(self, size: DecoderSize) -> None:
        super().__init__()
        width = size.width
        self.heads = size.heads
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.output = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, states: Tensor, added: Tensor, turns: tuple[Tensor, Tensor] | None) -> Tensor:
        normed = self.before_attention(states)
        rows, count, width = normed.shape
        query, key, value = (
            part(normed).view(rows, count, self.heads, -1).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        if turns is not None:
            query, key = apply_rotary_pos_emb(query, key, *turns)
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1]) + added
        mixture = (scores.softmax(-1).to(value) @ value).transpose(1, 2)
        states = states + self.output(mixture.reshape(rows, count, width))
        inner: Tensor = self.down(functional.gelu(self.up(self.before_mlp(states))))
        return states + inner
