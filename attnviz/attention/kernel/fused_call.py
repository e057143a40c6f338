"""Fused attention call with log-sum-exp, and the division of a masked call into parts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from attnviz.attention.kernel.softmax import HIDDEN
from attnviz.attention.masks.visibility import Visibility

__all__ = ["ALIGNED", "Part", "fused_call", "parts"]

MASK_BYTES = 64 << 20
MASK_ROWS = 1024
ALIGNED = 4  # numbers: the fused GPU kernels require rows of a multiple of 16 bytes


@dataclass(frozen=True)
class Part:
    """Queries start..end-1, the range of keys that they see, and the mask within it.

    Attributes:
        causal: the kernel's own causal mask applies; `mask` is None then.
        mask: added to the scores, 0 at visible keys; None if all are visible.
    """

    start: int
    end: int
    key_start: int
    key_end: int
    causal: bool = False
    mask: Float[Tensor, "batch 1 query key"] | None = None


def parts(visibility: Visibility, batch: int, queries: int, keys: int) -> tuple[Part, ...]:
    """Divide a call into as few parts as its mask allows."""
    whole = Part(0, queries, 0, keys)
    if visibility.is_full:
        return (whole,)
    if visibility.is_causal:
        return (replace(whole, causal=True),)
    height = min(MASK_ROWS, max(8, MASK_BYTES // (4 * batch * keys)))
    pieces = []
    for start in range(0, queries, height):
        end = min(start + height, queries)
        key_start, key_end = visibility.within(start, end)
        visible = visibility.table(start, end, key_start, key_end)[:, None]
        mask = torch.zeros_like(visible, dtype=torch.float32).masked_fill_(~visible, HIDDEN)
        pieces.append(Part(start, end, key_start, key_end, mask=mask))
    return tuple(pieces)


def fused_call(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch head key dim"],
    value: Float[Tensor, "batch head key value_dim"],
    causal: bool,
    mask: Float[Tensor, "batch 1 query key"] | None,
) -> tuple[Float[Tensor, "batch head query value_dim"], Float[Tensor, "batch head query"]]:
    """Return softmax(q.k + mask) @ value, and the log-sum-exp of each row of scores."""
    batch, heads, rows, dim = query.shape
    value_dim = value.shape[-1]
    if mask is not None:
        mask = _aligned(mask) if query.is_cuda else mask
        mask = mask.expand(batch, heads, -1, -1)
    if query.is_cuda:
        query, key = (pad(tensor, (0, -dim % ALIGNED)) for tensor in (query, key))
        value = pad(value, (0, -value_dim % ALIGNED))
        output, lse, _, _ = torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, value, mask, True, 0.0, causal, scale=1.0
        )
        return output[..., :value_dim], lse[..., :rows].float()
    # The CPU kernel requires values as wide as keys: one call per `dim` columns of values.
    outputs = []
    for start in range(0, value_dim, dim):
        columns = value[..., start : start + dim]
        columns = pad(columns, (0, dim - columns.shape[-1])).contiguous()
        output, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, columns, 0.0, causal, attn_mask=mask, scale=1.0
        )
        outputs.append(output)
    return torch.cat(outputs, -1)[..., :value_dim], lse


def _aligned(mask: Tensor) -> Tensor:
    """Copy a mask to memory in which each row begins at a multiple of 16 bytes."""
    keys = mask.shape[-1]
    return pad(mask, (0, -keys % ALIGNED)).contiguous()[..., :keys]
