"""Attention over a long text, of random queries and keys; its tokens are hostile on purpose."""

from __future__ import annotations

from dataclasses import replace

import torch

from attnviz.attention import AttentionStack
from attnviz.types import Tokens
from tests.engine.handmade import causal, record, vectors
from tests.views.samples import HOSTILE, make_tokens

WORDS = ("·the", "·cat", *HOSTILE, "·sat")


def long_stack(
    queries: int, keys: int | None = None, *, heads: int = 2, words: tuple[str, ...] = WORDS
) -> AttentionStack:
    """Return one layer; causal where queries and keys are the same text."""
    one = vectors(1, heads, heads, queries, keys or queries, 6, 5)
    mask = None if keys else torch.as_tensor(causal(queries))[None, None]
    stack = record([one], mask, kind="cross" if keys else "self")
    query_tokens: Tokens = make_tokens(queries, words)
    key_tokens = make_tokens(keys, words) if keys else query_tokens
    return replace(stack, query_tokens=query_tokens, key_tokens=key_tokens)
