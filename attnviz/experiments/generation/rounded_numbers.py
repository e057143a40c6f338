"""Groups of vectors stored as small integers, with a scale and an offset per group.

    code = round((x - offset) / scale),  offset = min, scale = (max - min) / (2^bits - 1)

Minimum and maximum are taken over the tokens of a group, per channel, or over the channels, per
token. Source: Liu et al. 2024 (KIVI), who store keys per channel and values per token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

__all__ = ["Axis", "RoundedGroup"]

Axis = Literal["channel", "token"]
"""What shares a scale: all tokens of one channel, or all channels of one token."""


@dataclass(frozen=True)
class RoundedGroup:
    """Packed integers of a group of tokens.

    Attributes:
        codes: 8 / bits codes per byte, packed along the tokens.
        scale: float32, with size 1 along the axis that shares it.
        offset: as `scale`.
        bits: of a code: 8, 4 or 2.
    """

    codes: UInt8[Tensor, "batch head packed dim"]
    scale: Float[Tensor, "batch head #token #dim"]
    offset: Float[Tensor, "batch head #token #dim"]
    bits: int

    @classmethod
    def of(
        cls, vectors: Float[Tensor, "batch head token dim"], bits: int, axis: Axis
    ) -> RoundedGroup:
        """Round vectors to codes; the number of tokens is a multiple of 8 / bits.

        The error of a number is at most half of its scale, apart from rounding in float32.
        """
        numbers = vectors.float()
        along = -2 if axis == "channel" else -1
        low, high = numbers.amin(along, keepdim=True), numbers.amax(along, keepdim=True)
        scale = (high - low) / (2**bits - 1)
        safe = torch.where(scale > 0, scale, 1.0)  # a constant group has the code 0 everywhere
        codes = ((numbers - low) / safe).round().clamp(0, 2**bits - 1).to(torch.uint8)
        return cls(_pack(codes, bits), scale, low, bits)

    def vectors(self) -> Float[Tensor, "batch head token dim"]:
        """Return the numbers that the codes stand for, float32."""
        return _unpack(self.codes, self.bits).float() * self.scale + self.offset

    @property
    def bytes(self) -> int:
        """Bytes of codes, scales and offsets."""
        tensors = (self.codes, self.scale, self.offset)
        return sum(one.numel() * one.element_size() for one in tensors)


def _pack(codes: Tensor, bits: int) -> Tensor:
    batch, heads, tokens, dim = codes.shape
    per = 8 // bits
    parts = codes.view(batch, heads, tokens // per, per, dim)
    packed = torch.zeros_like(parts[..., 0, :])
    for place in range(per):
        packed |= parts[..., place, :] << (bits * place)
    return packed


def _unpack(packed: Tensor, bits: int) -> Tensor:
    batch, heads, rows, dim = packed.shape
    per = 8 // bits
    parts = [(packed >> (bits * place)) & (2**bits - 1) for place in range(per)]
    return torch.stack(parts, dim=-2).view(batch, heads, rows * per, dim)
