"""One fused attention call with its log-sum-exp, and the parts that a mask cuts it into."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from attnviz.attention.softmax import HIDDEN
from attnviz.attention.visibility import Visibility

__all__ = ["ALIGNED", "Part", "fused_call", "parts"]

MASK_BYTES = 64 << 20
MASK_ROWS = 1024
ALIGNED = 4  # the fused kernels of GPUs want vectors of whole 16 bytes


@dataclass(frozen=True)
class Part:
    """Queries start..end with the keys that some of them see, and what hides the others."""

    start: int
    end: int
    key_start: int
    key_end: int
    causal: bool = False
    mask: Float[Tensor, "batch 1 query key"] | None = None


def parts(visibility: Visibility, batch: int, queries: int, keys: int) -> tuple[Part, ...]:
    """A call in as few parts as its mask allows."""
    whole = Part(0, queries, 0, keys)
    if visibility.is_full:
        return (whole,)
    if visibility.is_causal:
        return (replace(whole, causal=True),)
    first, stop = visibility.extent
    height = min(MASK_ROWS, max(8, MASK_BYTES // (4 * batch * keys)))
    found = []
    for start in range(0, queries, height):
        end = min(start + height, queries)
        key_start, key_end = min(first[start:end]), max(max(stop[start:end]), 1)
        seen = visibility.table(start, end, key_start, key_end)[:, None]
        mask = torch.zeros_like(seen, dtype=torch.float32).masked_fill_(~seen, HIDDEN)
        found.append(Part(start, end, key_start, key_end, mask=mask))
    return tuple(found)


def fused_call(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch head key dim"],
    value: Float[Tensor, "batch head key value_dim"],
    causal: bool,
    mask: Float[Tensor, "batch 1 query key"] | None,
) -> tuple[Float[Tensor, "batch head query value_dim"], Float[Tensor, "batch head query"]]:
    """One fused attention call with scores q.k + mask, and its log-sum-exp."""
    batch, heads, rows, dim = query.shape
    wide = value.shape[-1]
    if mask is not None:
        mask = _aligned(mask) if query.is_cuda else mask
        mask = mask.expand(batch, heads, -1, -1)
    if query.is_cuda:
        query, key = (pad(tensor, (0, -dim % ALIGNED)) for tensor in (query, key))
        mixed, lse, _, _ = torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, pad(value, (0, -wide % ALIGNED)), mask, True, 0.0, causal, scale=1.0
        )
        return mixed[..., :wide], lse[..., :rows].float()
    # This kernel's values are as wide as its keys.
    mixed = []
    for start in range(0, wide, dim):
        some = value[..., start : start + dim]
        some = pad(some, (0, dim - some.shape[-1])).contiguous()
        part, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, some, 0.0, causal, attn_mask=mask, scale=1.0
        )
        mixed.append(part)
    return torch.cat(mixed, -1)[..., :wide], lse


def _aligned(mask: Tensor) -> Tensor:
    """The same numbers, on memory whose rows begin at whole 16 bytes."""
    keys = mask.shape[-1]
    return pad(mask, (0, -keys % ALIGNED)).contiguous()[..., :keys]
