"""Choice between the two ways to compute attention: block by block, or by fused calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
from torch import Tensor

from attnviz.attention.kernel.fused_statistics import FusedRowsObserver
from attnviz.attention.kernel.score_terms import ScoreTerms

__all__ = [
    "QUICKER_KEYS",
    "Path",
    "fused_obstacles",
    "needs_gradient",
    "preferred_path",
    "preferring",
]

Path = Literal["blocks", "fused"]

QUICKER_KEYS = 1024
"""Number of keys from which the fused path is used on a GPU, where blocks are bound by memory."""

_preferred: ContextVar[Path | None] = ContextVar("attnviz_path", default=None)


@contextmanager
def preferring(path: Path) -> Iterator[None]:
    """Use this path for every attention call of the context that it can compute."""
    token = _preferred.set(path)
    try:
        yield
    finally:
        _preferred.reset(token)


def preferred_path(query: Tensor, key: Tensor) -> Path:
    """Return the path set by `preferring`, or the faster one on the device of `query`.

    Blocks are faster on a CPU: they stay in its cache, and each pass of the fused path multiplies
    queries and keys again.
    """
    preferred = _preferred.get()
    if preferred is not None:
        return preferred
    return "fused" if query.is_cuda and key.shape[2] >= QUICKER_KEYS else "blocks"


def needs_gradient(query: Tensor, key: Tensor, value: Tensor, terms: ScoreTerms) -> bool:
    """Return True if autograd records the call."""
    inputs = (query, key, value, terms.bias, terms.sinks)
    return torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in inputs
    )


def fused_obstacles(
    query: Tensor, key: Tensor, value: Tensor, terms: ScoreTerms, observe: object
) -> list[str]:
    """Return the conditions that keep a call from the fused path; empty if there are none.

    In 16 bits blocks round the scores as the library does, which fused calls do not.
    """
    dtypes = sorted({str(tensor.dtype) for tensor in (query, key, value)} - {"torch.float32"})
    conditions = {
        "a softcap": terms.softcap is not None,
        "a bias": terms.bias is not None,
        "sinks": terms.sinks is not None,
        "a gradient": needs_gradient(query, key, value, terms),
        f"dtype {', '.join(dtypes)}": bool(dtypes),
        "no queries or no keys": not query.shape[2] or not key.shape[2],
    }
    obstacles = [condition for condition, holds in conditions.items() if holds]
    # Last: `accepts_fused_rows` may wait for a GPU.
    if not obstacles and not (
        isinstance(observe, FusedRowsObserver) and observe.accepts_fused_rows
    ):
        obstacles.append("no observer" if observe is None else "an observer of blocks")
    return obstacles
