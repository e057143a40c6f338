"""Which of the two ways attention is computed: a block of rows at a time, or by fused calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from torch import Tensor

__all__ = ["QUICKER_KEYS", "Path", "preferred_path", "preferring"]

Path = Literal["blocks", "fused"]

QUICKER_KEYS = 1024
"""From this many keys on the fused path is taken on a GPU, where blocks are bound by its memory."""

_preferred: ContextVar[Path | None] = ContextVar("attnviz_path", default=None)


@contextmanager
def preferring(path: Path) -> Iterator[None]:
    """Within this block, in this context, attention takes this path wherever it can."""
    token = _preferred.set(path)
    try:
        yield
    finally:
        _preferred.reset(token)


def preferred_path(query: Tensor, key: Tensor) -> Path:
    """What was asked for, or what is quicker.

    On a processor the blocks are: they stay in its cache, and every pass of the fused path
    multiplies queries and keys anew.
    """
    wanted = _preferred.get()
    if wanted is not None:
        return wanted
    return "fused" if query.is_cuda and key.shape[2] >= QUICKER_KEYS else "blocks"
