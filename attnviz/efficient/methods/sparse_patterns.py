"""Fixed patterns of pairs: window, Longformer, BigBird and Sparse Transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from attnviz.efficient.methods.result import EfficientResult, Inputs, masked_attention
from attnviz.errors import InputError

__all__ = [
    "bigbird",
    "bigbird_mask",
    "longformer",
    "longformer_mask",
    "longformer_pairs",
    "reach",
    "sparse",
    "sparse_masks",
    "window",
    "window_mask",
]


def window_mask(queries: int, keys: int, width: int, causal: bool) -> Bool[Tensor, "query key"]:
    """Return the pairs closer than `width`: the last `width` keys of a causal model."""
    if width < 1:
        raise InputError(f"a window holds at least the token itself, not {width}")
    distance = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)[None, :]
    near = distance.abs() < width
    return near & (distance >= 0) if causal else near


def window(inputs: Inputs, *, window: int = 64) -> EfficientResult:
    """Let each query see the keys less than `window` positions away (Mistral 2023, Beltagy 2020).

    Exact where the window holds the whole text. Through L layers a token reaches L (window - 1)
    positions back.
    """
    mask = window_mask(inputs.queries, inputs.keys, window, inputs.causal) & inputs.visible()
    return _pattern(inputs, mask)


def longformer_mask(
    count: int, window: int, global_positions: Sequence[int], causal: bool
) -> Bool[Tensor, "query key"]:
    """Return the pairs of Longformer (Beltagy et al. 2020), without the causal cut of global rows.

    Each token sees `window` // 2 positions on either side; global positions see all and are seen by
    all. With `causal` the window lies behind the query.
    """
    mask = window_mask(count, count, window if causal else window // 2 + 1, causal)
    for position in global_positions:
        if not 0 <= position < count:
            raise InputError(f"there is no position {position} in a text of {count} tokens")
        mask[position] = True
        mask[:, position] = True
    return mask & torch.ones(count, count, dtype=torch.bool).tril() if causal else mask


def longformer_pairs(count: int, window: int, global_count: int) -> int:
    """Return the number of pairs of a Longformer with `global_count` leading global positions.

    n (2w + 1) - w (w + 1) pairs of the window of w = window // 2 on either side, of which those
    with a global position are counted once, with all pairs of the global rows and columns.
    """
    half = min(window // 2, count - 1)
    local = count - global_count
    inside = min(half, max(local - 1, 0))
    among_local = local * (2 * inside + 1) - inside * (inside + 1) if local else 0
    return among_local + 2 * global_count * count - global_count**2


def longformer(
    inputs: Inputs, *, window: int = 64, global_positions: Sequence[int] = (0,)
) -> EfficientResult:
    """Let each query see a window and some global positions; global queries see all keys.

    Exact where all positions are global.
    """
    _same_length(inputs, "Longformer")
    mask = longformer_mask(inputs.keys, window, global_positions, inputs.causal)
    return _pattern(inputs, mask)


def bigbird_mask(
    count: int, block: int, window_blocks: int, global_blocks: int, random_blocks: int, seed: int
) -> Bool[Tensor, "query key"]:
    """Return the pairs of BigBird (Zaheer et al. 2020), block by block.

    Blocks of `block` tokens see `window_blocks` blocks around them, `global_blocks` leading blocks,
    and `random_blocks` of the remaining ones, drawn from `seed`.
    """
    if block < 1 or min(window_blocks, global_blocks, random_blocks) < 0:
        raise InputError("block sizes are at least 1 and numbers of blocks at least 0")
    blocks = -(-count // block)
    generator = torch.Generator().manual_seed(seed)
    seen = (
        window_mask(blocks, blocks, window_blocks // 2 + 1, False)
        if window_blocks
        else (torch.zeros(blocks, blocks, dtype=torch.bool))
    )
    seen[:global_blocks] = True
    seen[:, :global_blocks] = True
    for row in range(blocks):
        others = torch.nonzero(~seen[row]).flatten()
        drawn = torch.randperm(len(others), generator=generator)[:random_blocks]
        seen[row, others[drawn]] = True
    return seen.repeat_interleave(block, 0).repeat_interleave(block, 1)[:count, :count]


def bigbird(
    inputs: Inputs,
    *,
    block: int = 16,
    window_blocks: int = 3,
    global_blocks: int = 1,
    random_blocks: int = 1,
    seed: int = 0,
) -> EfficientResult:
    """Let each block of queries see neighbouring, global and random blocks of keys."""
    _same_length(inputs, "BigBird")
    mask = bigbird_mask(inputs.keys, block, window_blocks, global_blocks, random_blocks, seed)
    return _pattern(inputs, mask & inputs.visible())


def sparse_masks(
    count: int, stride: int, kind: Literal["strided", "fixed"], summary: int = 1
) -> tuple[Bool[Tensor, "query key"], Bool[Tensor, "query key"]]:
    """Return the two patterns of a Sparse Transformer (Child et al. 2019).

    strided: the last `stride` keys; every `stride`-th key before the query.
    fixed: the keys of the query's block of `stride`; the last `summary` keys of every block.

    One step in the first pattern and one in the second lead from any query to any earlier key.
    """
    if stride < 1 or not 1 <= summary <= stride:
        raise InputError(f"a stride of {stride} with {summary} summary keys is not possible")
    rows, columns = torch.arange(count)[:, None], torch.arange(count)[None, :]
    seen = rows >= columns
    if kind == "strided":
        return seen & (rows - columns < stride), seen & ((rows - columns) % stride == 0)
    if kind == "fixed":
        same = rows // stride == columns // stride
        return seen & same, seen & ((columns % stride >= stride - summary) | (rows == columns))
    raise InputError(f"there is no pattern {kind!r}; choose 'strided' or 'fixed'")


def sparse(
    inputs: Inputs,
    *,
    stride: int = 16,
    kind: Literal["strided", "fixed"] = "strided",
    summary: int = 1,
) -> EfficientResult:
    """Let each query see the union of both patterns; always causal."""
    _same_length(inputs, "the Sparse Transformer")
    if not inputs.causal:
        raise InputError("the patterns of the Sparse Transformer are causal; use causal=True")
    first, second = sparse_masks(inputs.keys, stride, kind, summary)
    return _pattern(inputs, first | second)


def reach(mask: Bool[Tensor, "query key"], layers: int) -> Bool[Tensor, "query key"]:
    """Return which queries depend on which positions after `layers` layers of one pattern.

    The boolean matrix power of the mask, with each position seeing itself (residual stream).
    """
    step = (mask | torch.eye(len(mask), dtype=torch.bool, device=mask.device)).float()
    reached = torch.eye(len(mask), device=mask.device)
    for _ in range(layers):
        reached = ((reached @ step) > 0).float()
    return reached > 0


def _pattern(inputs: Inputs, mask: Tensor) -> EfficientResult:
    mask = mask.to(inputs.query.device)
    return masked_attention(inputs, mask, exact=bool((mask == inputs.visible()).all()))


def _same_length(inputs: Inputs, name: str) -> None:
    if inputs.queries != inputs.keys:
        raise InputError(
            f"{name} is self-attention; there are {inputs.queries} queries and {inputs.keys} keys"
        )
