"""Costs of each variant as functions of the number of tokens, without computing attention.

Multiplications are those of `EfficientResult.operations`. Held numbers are intermediate numbers
that exist at the same time. Moved numbers travel between a large memory and the processor: inputs
and outputs once, and, where a matrix of scores is held, each score and each weight once written and
once read (the model of Dao et al. 2022, section 3.2); tiles read keys and values again for each
block of queries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from attnviz.errors import InputError

__all__ = ["Cost", "cost"]


@dataclass(frozen=True)
class Cost:
    """Costs of one head.

    Attributes:
        pairs: pairs of a query and a key whose score is computed; 0 where none is.
        operations: multiplications.
        held: intermediate numbers that exist at the same time.
        moved: numbers that travel between a large memory and the processor.
        cached: numbers kept per token while a text is generated, or None: the state has a fixed
            size, which is `held`.
    """

    pairs: float
    operations: float
    held: float
    moved: float
    cached: float | None


@dataclass(frozen=True)
class _Sizes:
    """Number of tokens, of numbers per key and per value, and the mask."""

    tokens: int
    d: int
    d_value: int
    causal: bool

    @property
    def inputs(self) -> int:
        """Numbers of queries, keys, values and outputs."""
        return 2 * self.tokens * (self.d + self.d_value)

    def visible(self) -> float:
        return self.tokens * (self.tokens + 1) / 2 if self.causal else self.tokens**2


def cost(
    name: str,
    tokens: int,
    *,
    d: int,
    d_value: int | None = None,
    causal: bool = True,
    **options: int,
) -> Cost:
    """Return what a variant costs on a text of `tokens` tokens, per head.

    Args:
        name: one of `names`.
        tokens: length of the text, at least 1.
        d: numbers per query and per key.
        d_value: numbers per value; d when None.
        causal: whether a query sees earlier keys only.
        options: the variant's settings; `heads` is the number of heads of multi-query,
            grouped-query and latent attention. Buckets of Reformer are taken to have equal sizes,
            and random blocks of BigBird to lie anywhere with equal probability.

    Raises:
        InputError: an unknown variant, or no token.
    """
    if name not in _COSTS:
        raise InputError(f"there is no variant '{name}'; there are {', '.join(_COSTS)}")
    if tokens < 1:
        raise InputError(f"a text has at least one token, not {tokens}")
    return _COSTS[name](_Sizes(tokens, d, d if d_value is None else d_value, causal), options)


def _of_pairs(sizes: _Sizes, pairs: float) -> Cost:
    """Return the cost of softmax attention over some pairs, with their scores held."""
    return Cost(
        pairs,
        pairs * (sizes.d + sizes.d_value),
        pairs,
        sizes.inputs + 4 * pairs,
        sizes.d + sizes.d_value,
    )


def _exact(sizes: _Sizes, options: Mapping[str, int]) -> Cost:
    return _of_pairs(sizes, sizes.visible())


def _flash(sizes: _Sizes, options: Mapping[str, int]) -> Cost:
    n, block = sizes.tokens, options.get("block", 64)
    width = sizes.d + sizes.d_value
    if sizes.causal:
        full, rest = divmod(n, block)
        pairs = block * block * full * (full + 1) // 2 + rest * n
        read = block * full * (full + 1) // 2 + (n if rest else 0)  # keys, over all query tiles
    else:
        pairs, read = n * n, -(-n // block) * n
    side = min(block, n)
    held = side * (side + sizes.d_value + 2)
    moved = sizes.tokens * width + read * width
    return Cost(pairs, pairs * width, held, moved, width)


def _ring(sizes: _Sizes, options: Mapping[str, int]) -> Cost:
    n, devices = sizes.tokens, options.get("devices", 4)
    edges = [n * device // devices for device in range(devices + 1)]
    lengths = np.diff(edges)
    width = sizes.d + sizes.d_value
    pairs = read = 0
    for rows in range(devices):
        for keys in range(devices):
            if lengths[rows] and lengths[keys] and (not sizes.causal or keys <= rows):
                pairs += int(lengths[rows]) * int(lengths[keys])
                read += int(lengths[keys])
    most = int(lengths.max())
    held = most * most + most * (sizes.d_value + 2) + most * width
    return Cost(pairs, pairs * width, held, n * width + read * width, width)


def _grouped(sizes: _Sizes, options: Mapping[str, int]) -> Cost:
    heads = max(1, options.get("heads", 8))
    groups = min(options.get("groups", 2), heads)
    plain = _of_pairs(sizes, sizes.visible())
    width = sizes.d + sizes.d_value
    saved = sizes.tokens * width * (1 - groups / heads)
    return Cost(
        plain.pairs, plain.operations, plain.held, plain.moved - saved, width * groups / heads
    )


def _multi(sizes: _Sizes, options: Mapping[str, int]) -> Cost:
    return _grouped(sizes, {**options, "groups": 1})


def _latent(sizes: _Sizes, options: Mapping[str, int]) -> Cost:
    heads, rank = max(1, options.get("heads", 1)), options.get("rank", 32)
    rank = min(rank, heads * (sizes.d + sizes.d_value), sizes.tokens)
    pairs = sizes.visible()
    shared = sizes.tokens * rank / heads
    moved = sizes.tokens * (sizes.d + sizes.d_value) + shared + 4 * pairs
    return Cost(pairs, pairs * 2 * rank, pairs, moved, rank / heads)


def _near(tokens: int, width: int, causal: bool) -> int:
    """Return the number of pairs closer than `width`."""
    reach = min(width, tokens)
    half = tokens * reach - reach * (reach - 1) // 2
    return half if causal else 2 * half - tokens


def _window(sizes: _Sizes, options: Mapping[str, int]) -> Cost:
    return _of_pairs(sizes, _near(sizes.tokens, options.get("window", 64), sizes.causal))


def _longformer(sizes: _Sizes, options: Mapping[str, int]) -> Cost:
    """Return the cost with one global position, the first."""
    n, width = sizes.tokens, options.get("window", 64)
    if sizes.causal:
        return _of_pairs(sizes, _near(n, width, True) + max(0, n - width))
    return _of_pairs(sizes, _near(n - 1, width // 2 + 1, False) + 2 * n - 1)


def _bigbird(sizes: _Sizes, options: Mapping[str, int]) -> Cost:
    """Return the cost of three window blocks, one global and one random block per block."""
    n, block = sizes.tokens, options.get("block", 16)
    count = -(-n // block)
    lengths = np.full(count, block, dtype=float)
    lengths[-1] = n - block * (count - 1)
    at = np.arange(count)
    fixed = np.zeros(count)  # keys of the first block and of the neighbours
    chosen = np.zeros(count)  # blocks among them
    for shift in (-1, 0, 1):
        inside = (at + shift >= 1) & (at + shift < count)
        wanted = inside & ((shift <= 0) | (not sizes.causal))
        half = (lengths + 1) / 2 if shift == 0 and sizes.causal else None
        keys = half if half is not None else lengths[np.clip(at + shift, 0, count - 1)]
        fixed += np.where(wanted, keys, 0.0)
        chosen += inside
    first = lengths[0] if not sizes.causal else np.where(at == 0, (lengths[0] + 1) / 2, lengths[0])
    fixed += first
    chosen += 1
    others = count - chosen
    before = np.clip(at - 2, 0, None) if sizes.causal else others  # unseen blocks that may be seen
    drawn = np.where(others > 0, block * before / np.maximum(others, 1), 0.0)
    rows = fixed + drawn
    rows[0] = n if not sizes.causal else (lengths[0] + 1) / 2  # the first block sees all
    return _of_pairs(sizes, float((rows * lengths).sum()))


def _sparse(sizes: _Sizes, options: Mapping[str, int]) -> Cost:
    n, stride = sizes.tokens, options.get("stride", 16)
    full, rest = divmod(n, stride)
    far = stride * full * (full - 1) // 2 + rest * full  # the sum of i // stride
    return _of_pairs(sizes, _near(n, stride, True) + far)


def _linformer(sizes: _Sizes, options: Mapping[str, int]) -> Cost:
    n, width = sizes.tokens, sizes.d + sizes.d_value
    rank = min(options.get("rank", 64), n)
    held = n * rank + rank * width
    # keys, values and the projection are read, projected keys and values written and read
    moved = sizes.inputs + n * rank + 2 * rank * width + 4 * n * rank
    return Cost(0, 2 * rank * n * width, held, moved, None)


def _features(sizes: _Sizes, features: int) -> Cost:
    held = features * (sizes.d_value + 1)
    moved = sizes.inputs + 4 * sizes.tokens * features + 2 * held
    return Cost(0, 2 * sizes.tokens * features * (sizes.d_value + 1), held, moved, None)


def _performer(sizes: _Sizes, options: Mapping[str, int]) -> Cost:
    return _features(sizes, options.get("features", 256))


def _linear(sizes: _Sizes, options: Mapping[str, int]) -> Cost:
    return _features(sizes, sizes.d)


def _nystrom(sizes: _Sizes, options: Mapping[str, int]) -> Cost:
    n = sizes.tokens
    count = min(options.get("landmarks", 32), n)
    pairs = count * (2 * n + count)
    operations = pairs * sizes.d + count * (2 * n + count) * sizes.d_value
    return Cost(0, operations, pairs, sizes.inputs + 4 * pairs, None)


def _reformer(sizes: _Sizes, options: Mapping[str, int]) -> Cost:
    n, buckets = sizes.tokens, options.get("buckets", 8)
    per_bucket = n / buckets
    others = per_bucket * (per_bucket - 1) * buckets
    pairs = others / 2 + buckets if sizes.causal else others
    hashing = options.get("hashes", 1) * n * -(-buckets // 2) * sizes.d
    plain = _of_pairs(sizes, max(pairs, n))
    return Cost(plain.pairs, plain.operations + hashing, plain.held, plain.moved + n, plain.cached)


def _state_space(sizes: _Sizes, options: Mapping[str, int]) -> Cost:
    held = sizes.d * sizes.d_value
    operations = 3 * sizes.tokens * held
    return Cost(0, operations, held, sizes.inputs + 2 * held, None)


_COSTS: Mapping[str, Callable[[_Sizes, Mapping[str, int]], Cost]] = {
    "exact": _exact,
    "flash": _flash,
    "ring": _ring,
    "multi_query": _multi,
    "grouped_query": _grouped,
    "latent": _latent,
    "window": _window,
    "longformer": _longformer,
    "bigbird": _bigbird,
    "sparse": _sparse,
    "linformer": _linformer,
    "performer": _performer,
    "nystromformer": _nystrom,
    "reformer": _reformer,
    "linear": _linear,
    "state_space": _state_space,
}
