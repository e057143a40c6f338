"""What fused attention calls tell of every row, without a weight ever being written to memory.

A fused call gives sum_j p_ij v_j for any values v, and the log-sum-exp of each row. With
s_ij = q_i.k_j (scaling inside q), p_ij = exp(s_ij - lse_i), other values give other numbers:

    v = k_j                            the mean key, and with it entropy = lse_i - q_i.(mean key)
    v = key j's stretch of the text,   the distance outside the query's own stretch
        and its place in it

and other scores give the rest:

    s_ij x 2^20                        lse / 2^20 is the largest score, to ln(n) / 2^20
    s_ij - lse_i, keys as queries      lse of key j is the logarithm of all weight it receives

Single weights (on the first, previous, same and next key, on copies) are single dot products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from attnviz.attention.fused_call import ALIGNED, Part, fused_call, parts
from attnviz.attention.softmax import HIDDEN
from attnviz.attention.visibility import Visibility

__all__ = ["SAFE_SCORE", "FusedRows", "RowTaker"]

SAFE_SCORE = 24.0
"""Layers with larger scores belong to the blocks. Entropy is here a difference of two numbers of
this size whose scores were rounded apart from each other: up to 24 it is right to 1e-5 nats, up to
48 to 2e-5. In a block each row's highest score is taken off first."""

SHARP = 2.0**20
PAIR_NUMBERS = 1 << 22  # of gathered query and key vectors at a time


@runtime_checkable
class RowTaker(Protocol):
    """An observer that is content with rows, and need not see each weight."""

    @property
    def takes_rows(self) -> bool:
        """Whether it can do without weights in this call."""
        ...

    def take(self, rows: FusedRows) -> None:
        """Called once, with all rows of the call."""
        ...


@dataclass(frozen=True)
class FusedRows:
    """All rows of one call. What costs another pass is computed when it is asked for.

    Attributes:
        query: scaled.
        key: less the mean key of its head: a number per row, which changes no weight, is thereby
            taken off its scores, and sums over keys lose fewer digits.
        value: of as many heads as the queries.
        shift: that number, to be added to these scores to have the model's.
    """

    query: Float[Tensor, "batch head query dim"]
    key: Float[Tensor, "batch head key dim"]
    value: Float[Tensor, "batch head key value_dim"]
    shift: Float[Tensor, "batch head query"]
    visibility: Visibility

    @classmethod
    def of(
        cls, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility, scaling: float
    ) -> FusedRows | None:
        """The rows of a call whose scores are plain dot products.

        None for other precisions than float32, where blocks round scores as the library does. How
        large the scores are is not asked here: `are_safe` knows, but to look at it would make a
        GPU wait in every layer.
        """
        if any(tensor.dtype != torch.float32 for tensor in (query, key, value)):
            return None
        if not query.shape[2] or not key.shape[2]:
            return None
        center = key.mean(2, keepdim=True)
        query, key = query * scaling, key - center
        heads = query.shape[1]
        key, value, center = (_for_heads(tensor, heads) for tensor in (key, value, center))
        shift = torch.matmul(query, center.transpose(2, 3))[..., 0]
        return cls(query, key, value, shift, visibility)

    @cached_property
    def are_safe(self) -> Bool[Tensor, ""]:
        """Whether no number that the entropy is made of is beyond `SAFE_SCORE`; on the device.

        Where it is, the output is as right as ever, and the entropy is not right to 1e-5 nats.
        """
        terms = (self.query * self._first[2]).abs_().sum(-1)
        largest = torch.maximum(self.lse.abs(), terms.masked_fill_(self.blind, 0.0))
        return (largest <= SAFE_SCORE).all()  # not so where something is NaN

    @cached_property
    def output(self) -> Float[Tensor, "batch head query value_dim"]:
        """The mixed values; 0 for a query that sees nothing."""
        return self._first[0].masked_fill(self.blind[..., None], 0.0)

    @cached_property
    def lse(self) -> Float[Tensor, "batch head query"]:
        """The logarithm of sum_j exp(score), of the scores less `shift`."""
        return self._first[1].masked_fill(self.blind, 0.0)

    @cached_property
    def highest(self) -> Float[Tensor, "batch head query"]:
        """The largest score, less `shift`."""
        _, sharp = self._run(self.query * SHARP, self.key, self.key[..., :ALIGNED])
        return (sharp / SHARP).masked_fill(self.blind, 0.0)

    @cached_property
    def entropy(self) -> Float[Tensor, "batch head query"]:
        """-sum p ln p, nats."""
        mean = _products(self.query, self._first[2])
        return (self.lse - mean).clamp_min(0.0).masked_fill(self.blind, 0.0)

    def received(
        self, real: Float[Tensor, "batch 1 query"] | None
    ) -> Float[Tensor, "batch head key"]:
        """The sum of the weights each key gets from the real queries (all when None)."""
        giving = -self.lse
        silent = self.blind if real is None else self.blind | (real == 0)
        giving = giving.masked_fill(silent, HIDDEN)
        rows = torch.cat([self.query, giving[..., None]], -1)
        columns = pad(self.key, (0, 1), value=1.0)
        found = self.query.new_zeros(self.key.shape[:3])
        for part in self._parts:
            looked = columns[:, :, part.key_start : part.key_end]
            lookers = rows[:, :, part.start : part.end]
            if part.causal:  # a key is seen by itself and later ones: causal from the end
                looked, lookers = looked.flip(2), lookers.flip(2)
            mask = None if part.mask is None else part.mask.transpose(2, 3)
            _, lse = fused_call(looked, lookers, lookers[..., :ALIGNED] * 0, part.causal, mask)
            found[:, :, part.key_start : part.key_end] += (
                lse.flip(2) if part.causal else lse
            ).exp()
        return found

    def weights_at(
        self, query: Int[Tensor, " pair"], key: Int[Tensor, " pair"]
    ) -> Float[Tensor, "batch head pair"]:
        """Single weights; 0 where the query does not see the key."""
        batch, heads, _, dim = self.query.shape
        step = max(1, PAIR_NUMBERS // (batch * heads * dim))
        found = []
        for start in range(0, len(query), step):
            rows, columns = query[start : start + step], key[start : start + step]
            columns = columns.clamp(0, self.key.shape[2] - 1)
            scores = _products(self.query[:, :, rows], self.key[:, :, columns])
            seen = self.visibility.sees(rows, key[start : start + step])[:, None]
            found.append((scores - self.lse[:, :, rows]).exp().masked_fill(~seen, 0.0))
        return torch.cat(found, -1) if found else self.query.new_zeros(batch, heads, 0)

    def distance(self) -> Float[Tensor, "batch head query"]:
        """Expected |query position - key position|, where queries and keys are one text.

        Keys are gathered in stretches. Of a stretch before or behind the query's own one the fused
        call gives the weight and its mean place; sums of positive numbers alone, so that nothing
        is lost where the weight is near. The query's own stretch is looked at weight by weight.
        """
        sums = self._first[3]
        length, stretches = self._stretch, -(-self.key.shape[2] // self._stretch)
        place = torch.arange(self.query.shape[2], device=self.query.device)
        edge = torch.arange(stretches, device=self.query.device) * length
        own = (place // length)[:, None]
        before = edge // length < own
        behind = edge // length > own
        mass, left, right = torch.split(sums, stretches, -1)
        away = (place[:, None] - edge - length).float() * before
        away = away + (edge - place[:, None]).float() * behind
        far = (mass * away + left * before + right * behind).sum(-1)
        # Counted here and not read from `edge`: that would be a wait for a GPU per stretch.
        near = [self._near(start, start + length) for start in range(0, self.key.shape[2], length)]
        return far + torch.cat(near, -1)

    def _near(self, start: int, end: int) -> Float[Tensor, "batch head query"]:
        """The part of the distance that falls into a stretch of queries and the same keys."""
        rows = slice(start, end)
        scores = torch.matmul(self.query[:, :, rows], self.key[:, :, rows].transpose(2, 3))
        weights = scores.sub_(self.lse[:, :, rows, None]).exp_()
        place = torch.arange(weights.shape[2], device=weights.device)
        seen = self.visibility.table(start, start + len(place), start, start + len(place))
        apart = (place[:, None] - place).abs() * seen[:, None]
        return _products(weights.masked_fill_(~seen[:, None], 0.0), apart.float())

    def of_text(self, index: int) -> FusedRows:
        """The rows of one text of the batch, as far as single weights need them."""
        part = slice(index, index + 1)
        rule = self.visibility
        one = replace(
            self,
            query=self.query[part],
            key=self.key[part],
            value=self.value[part],
            shift=self.shift[part],
            visibility=replace(
                rule,
                first=rule.first[part],
                stop=rule.stop[part],
                keys=None if rule.keys is None else rule.keys[part],
                dense=None if rule.dense is None else rule.dense[part],
            ),
        )
        one.__dict__["lse"] = self.lse[part]  # where a cached property keeps what it found
        return one

    @cached_property
    def blind(self) -> Bool[Tensor, "batch 1 query"]:
        """Which queries see no key at all."""
        return (self.visibility.count == 0)[:, None]

    @cached_property
    def _stretch(self) -> int:
        """Keys to a stretch: few stretches are few columns, short ones few single weights."""
        return 1 << max(7, math.ceil(math.log2(16 * self.key.shape[2]) / 2))

    @cached_property
    def _first(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The mixed values, the log-sum-exp, the mean keys, and what `distance` is made of."""
        columns = [self.value, self.key]
        if self.query.shape[2] == self.key.shape[2]:
            columns.append(self._places().expand(*self.key.shape[:2], -1, -1))
        mixed, lse = self._run(self.query, self.key, torch.cat(columns, -1))
        sizes = [column.shape[-1] for column in columns]
        parts = [*torch.split(mixed, sizes, -1), mixed[..., :0]]
        return parts[0], lse, parts[1], parts[2]

    def _places(self) -> Float[Tensor, "key column"]:
        """Per key: its stretch, and in that column its places to the stretch's end and start."""
        length, keys = self._stretch, self.key.shape[2]
        place = torch.arange(keys, device=self.key.device)
        stretch = torch.arange(-(-keys // length), device=self.key.device)
        here = (place[:, None] // length == stretch).float()
        offset = (place % length).float()[:, None]
        return torch.cat([here, here * (length - offset), here * offset], -1)

    @cached_property
    def _parts(self) -> tuple[Part, ...]:
        batch, queries, keys = self.query.shape[0], self.query.shape[2], self.key.shape[2]
        return parts(self.visibility, batch, queries, keys)

    def _run(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed values and log-sum-exp of all parts."""
        mixed, lse = zip(
            *(
                fused_call(
                    query[:, :, part.start : part.end],
                    key[:, :, part.key_start : part.key_end],
                    value[:, :, part.key_start : part.key_end],
                    part.causal,
                    part.mask,
                )
                for part in self._parts
            ),
            strict=True,
        )
        return torch.cat(mixed, 2), torch.cat(lse, 2)


def _for_heads(tensor: Tensor, heads: int) -> Tensor:
    """The tensor with each of its heads repeated for the queries of its group."""
    groups = tensor.shape[1]
    if groups == heads:
        return tensor
    return tensor.repeat_interleave(heads // groups, dim=1)


def _products(one: Tensor, other: Tensor) -> Tensor:
    """The inner products of vectors."""
    return (one * other).sum(-1)
