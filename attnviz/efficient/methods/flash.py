"""FlashAttention (Dao et al. 2022): exact attention in tiles, with a running maximum and sum.

A tile of keys at a time, each row keeps its highest score m, the sum l of exp(score - m) and the
output o so far. When a tile brings a higher score, l and o are rescaled by exp(m_old - m_new).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from attnviz.efficient.methods.result import EfficientResult, Inputs
from attnviz.errors import InputError

__all__ = ["Running", "flash", "flash_steps", "merge"]


@dataclass(frozen=True, eq=False)
class Running:
    """State of some rows after some keys.

    Attributes:
        highest: highest score so far, [query].
        total: sum of exp(score - highest), [query].
        output: sum of exp(score - highest) * value, [query, d_value], not yet divided by `total`.
    """

    highest: Float[Tensor, " query"]
    total: Float[Tensor, " query"]
    output: Float[Tensor, "query d_value"]

    @classmethod
    def empty(cls, like: Tensor, d_value: int) -> Running:
        """Return the state before any key; `like` is [query, anything]."""
        rows = like.shape[0]
        return cls(
            like.new_full((rows,), -math.inf), like.new_zeros(rows), like.new_zeros(rows, d_value)
        )

    @classmethod
    def of(cls, scores: Float[Tensor, "query key"], value: Float[Tensor, "key d_value"]) -> Running:
        """Return the state after one tile alone; masked scores are -inf."""
        highest = scores.amax(-1)  # (query)
        base = torch.where(torch.isfinite(highest), highest, 0.0)
        powers = torch.exp(scores - base[:, None])  # (query, key)
        return cls(highest, powers.sum(-1), powers @ value)

    def finished(self) -> Float[Tensor, "query d_value"]:
        """Return the attention output: `output` divided by `total`."""
        return self.output / self.total.clamp_min(torch.finfo(self.total.dtype).tiny)[:, None]

    def log_sum_exp(self) -> Float[Tensor, " query"]:
        """Return log of the sum of exp(score) of every row."""
        return self.highest + torch.log(self.total)


def merge(first: Running, second: Running) -> Running:
    """Merge the states of two sets of keys; associative and commutative up to rounding."""
    highest = torch.maximum(first.highest, second.highest)
    base = torch.where(torch.isfinite(highest), highest, 0.0)
    one, two = torch.exp(first.highest - base), torch.exp(second.highest - base)
    return Running(
        highest,
        one * first.total + two * second.total,
        one[:, None] * first.output + two[:, None] * second.output,
    )


def flash_steps(
    inputs: Inputs, rows: slice, block: int, order: Sequence[int]
) -> Iterator[tuple[slice, Running]]:
    """Yield, for a block of queries, each tile's keys and the state after it.

    Args:
        inputs: queries, keys and values without a head axis.
        rows: the queries.
        block: keys per tile.
        order: numbers of the tiles, in the order in which they are read.
    """
    state = Running.empty(inputs.query[rows], inputs.value.shape[-1])
    visible = inputs.visible()[rows]
    for number in order:
        keys = slice(number * block, min((number + 1) * block, inputs.keys))
        scores = inputs.query[rows] @ inputs.key[keys].mT * inputs.scale  # (query, key)
        scores = scores.masked_fill(~visible[:, keys], -math.inf)
        state = merge(state, Running.of(scores, inputs.value[keys]))
        yield keys, state


def flash(
    inputs: Inputs,
    *,
    block: int = 64,
    query_block: int | None = None,
    order: Sequence[int] | None = None,
) -> EfficientResult:
    """Compute exact attention tile by tile, without the matrix of all scores.

    Args:
        inputs: queries, keys and values.
        block: keys per tile.
        query_block: queries per tile; `block` when None.
        order: order of the key tiles; any order gives the same result.

    Raises:
        InputError: a block size below one, or an order that is not a permutation of the tiles.
    """
    query_block = block if query_block is None else query_block
    if block < 1 or query_block < 1:
        raise InputError(
            f"a tile needs at least one key and one query, not {block} and {query_block}"
        )
    tiles = -(-inputs.keys // block)
    chosen = list(range(tiles)) if order is None else [int(one) for one in order]
    if sorted(chosen) != list(range(tiles)):
        raise InputError(f"the order must name each of the {tiles} tiles once, not {chosen}")
    visible = inputs.visible()
    outputs, sums, skipped, pairs = [], [], 0, 0
    for start in range(0, inputs.queries, query_block):
        rows = slice(start, min(start + query_block, inputs.queries))
        seen = [
            number
            for number in chosen
            if bool(visible[rows, number * block : (number + 1) * block].any())
        ]
        skipped += tiles - len(seen)
        state = Running.empty(inputs.query[rows], inputs.value.shape[-1])
        for keys, after in flash_steps(inputs, rows, block, seen):
            state = after
            pairs += (rows.stop - rows.start) * (keys.stop - keys.start)
        outputs.append(state.finished())
        sums.append(state.log_sum_exp())
    log_sum_exp = torch.cat(sums)
    scores = (inputs.query @ inputs.key.mT * inputs.scale).masked_fill(~visible, -math.inf)
    weights = torch.exp(scores - log_sum_exp[:, None])  # to be shown; the method never holds it
    tile = min(query_block, inputs.queries) * (min(block, inputs.keys) + inputs.value.shape[-1] + 2)
    return EfficientResult(
        output=torch.cat(outputs),
        weights=weights.masked_fill(~visible, math.nan),
        computed=visible,
        exact=True,
        operations=pairs * inputs.width,
        numbers_held=tile,
        details={"log_sum_exp": log_sum_exp, "tiles": tiles, "skipped_tiles": skipped},
    )
