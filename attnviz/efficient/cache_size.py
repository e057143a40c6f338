"""Size of the cache of keys and values."""

from __future__ import annotations

from attnviz.errors import InputError

__all__ = ["kv_cache_bytes"]


def kv_cache_bytes(
    *,
    layers: int,
    kv_heads: int,
    d_head: int,
    tokens: int,
    batch: int = 1,
    bytes_per_number: float = 2,
    window: int | None = None,
) -> int:
    """Return the bytes of a cache: 2 · layers · kv_heads · d_head · tokens · batch · bytes.

    The 2 stands for keys and values. With a sliding window only the last `window` tokens are kept.
    Example: Llama 2 7B (32 layers, 32 heads of 128) at 4,096 tokens in 16 bits is 2,147,483,648.

    Args:
        layers: layers with attention.
        kv_heads: heads of keys and values.
        d_head: numbers per key and per value.
        tokens: tokens read so far.
        batch: texts at the same time.
        bytes_per_number: 4 for float32, 2 for 16 bits, 1 for int8, 0.5 for int4.
        window: tokens that a layer keeps; all when None.

    Raises:
        InputError: a number below zero, or a window below one.
    """
    given = {"layers": layers, "kv_heads": kv_heads, "d_head": d_head, "tokens": tokens,
             "batch": batch, "bytes_per_number": bytes_per_number}  # fmt: skip
    for name, number in given.items():
        if number < 0:
            raise InputError(f"{name} is at least 0, not {number}")
    if window is not None and window < 1:
        raise InputError(f"a window holds at least one token, not {window}")
    kept = tokens if window is None else min(tokens, window)
    return round(2 * layers * kv_heads * d_head * kept * batch * bytes_per_number)
