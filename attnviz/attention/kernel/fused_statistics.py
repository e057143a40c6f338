"""Row statistics by fused attention calls, without weights in memory.

A fused call returns sum_j p_ij v_j for any values v, and the log-sum-exp of each row. With
s_ij = q_i.k_j (scaling inside q) and p_ij = exp(s_ij - lse_i), other values give other statistics:

    v_j = k_j                          the mean key: entropy = lse_i - q_i.(mean key)
    v_j = one-hot segment of key j,    the expected distance outside the query's segment
          and position within it

and other scores give the rest:

    s_ij x 2^20                        lse / 2^20 is the largest score, plus at most ln(n) / 2^20
    s_ij - lse_i, keys as queries      lse of key j is the log of the sum of weights it receives

Single weights (on the first, previous, same and next key, on copies) are single dot products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from attnviz.attention.kernel.fused_call import ALIGNED, Part, fused_call, parts
from attnviz.attention.kernel.softmax import HIDDEN
from attnviz.attention.masks.visibility import Visibility

__all__ = ["SAFE_SCORE", "FusedRows", "FusedRowsObserver"]

SAFE_SCORE = 24.0
"""Largest score for which the fused entropy is accurate. It is the difference of two numbers of
this size, rounded separately: accurate to 1e-5 nats up to 24, to 2e-5 up to 48. Layers with larger
scores are computed by blocks, which subtract the highest score of each row first."""

SHARP = 2.0**20  # factor that turns log-sum-exp into a maximum
PAIR_NUMBERS = 1 << 22  # of gathered query and key vectors at a time


@runtime_checkable
class FusedRowsObserver(Protocol):
    """Observer that can use the rows of a fused call instead of blocks of weights."""

    @property
    def accepts_fused_rows(self) -> bool:
        """True if the observer does not need the weights of this call."""
        ...

    def observe_fused_rows(self, rows: FusedRows) -> None:
        """Receive all rows of the call, once."""
        ...


@dataclass(frozen=True)
class FusedRows:
    """Rows of one call. Attributes that need another pass are computed on first access.

    Attributes:
        query: query vectors times scaling.
        key: key vectors - mean key of the head. This subtracts one number per row from its scores,
            which changes no weight, and sums over keys lose fewer digits.
        value: value vectors, one head per query head.
        shift: q.(mean key): score of the model = score of these vectors + shift.
    """

    query: Float[Tensor, "batch head query dim"]
    key: Float[Tensor, "batch head key dim"]
    value: Float[Tensor, "batch head key value_dim"]
    shift: Float[Tensor, "batch head query"]
    visibility: Visibility

    @classmethod
    def of(
        cls, query: Tensor, key: Tensor, value: Tensor, visibility: Visibility, scaling: float
    ) -> FusedRows:
        """Return the rows of a float32 call whose scores are scaled dot products.

        The size of the scores is not checked: reading it would wait for a GPU in every layer.
        See `is_accurate`.
        """
        center = key.mean(2, keepdim=True)
        query, key = query * scaling, key - center
        heads = query.shape[1]
        key, value, center = (_for_heads(tensor, heads) for tensor in (key, value, center))
        shift = torch.matmul(query, center.transpose(2, 3))[..., 0]
        return cls(query, key, value, shift, visibility)

    @cached_property
    def is_accurate(self) -> Bool[Tensor, ""]:
        """True if both terms of the entropy are at most `SAFE_SCORE`; a tensor on the device.

        If False, the output is correct and the entropy is not accurate to 1e-5 nats.
        """
        products = (self.query * self._first_pass.mean_key).abs_().sum(-1)
        largest = torch.maximum(self.lse.abs(), products.masked_fill_(self.without_keys, 0.0))
        return (largest <= SAFE_SCORE).all()  # False where a number is NaN

    @cached_property
    def output(self) -> Float[Tensor, "batch head query value_dim"]:
        """Attention output; 0 for a query without visible keys."""
        return self._first_pass.output.masked_fill(self.without_keys[..., None], 0.0)

    @cached_property
    def lse(self) -> Float[Tensor, "batch head query"]:
        """Log-sum-exp of the scores - `shift`; 0 for a query without visible keys."""
        return self._first_pass.lse.masked_fill(self.without_keys, 0.0)

    @cached_property
    def highest(self) -> Float[Tensor, "batch head query"]:
        """Largest score - `shift`; 0 for a query without visible keys."""
        _, sharp = self._run(self.query * SHARP, self.key, self.key[..., :ALIGNED])
        return (sharp / SHARP).masked_fill(self.without_keys, 0.0)

    @cached_property
    def entropy(self) -> Float[Tensor, "batch head query"]:
        """Entropy -sum p ln p, nats; 0 for a query without visible keys."""
        mean_score = _dot(self.query, self._first_pass.mean_key)
        return (self.lse - mean_score).clamp_min(0.0).masked_fill(self.without_keys, 0.0)

    def received(
        self, real: Float[Tensor, "batch 1 query"] | None
    ) -> Float[Tensor, "batch head key"]:
        """Return the sum of the weights that each key receives.

        Args:
            real: 1 for queries that count, 0 for padding; all count when None.
        """
        ignored = self.without_keys if real is None else self.without_keys | (real == 0)
        offset = (-self.lse).masked_fill(ignored, HIDDEN)
        q = torch.cat([self.query, offset[..., None]], -1)  # (B, h, q, d+1)
        k = pad(self.key, (0, 1), value=1.0)  # (B, h, k, d+1): k.q = score - lse
        totals = self.query.new_zeros(self.key.shape[:3])
        for part in self._parts:
            q_part = q[:, :, part.start : part.end]
            k_part = k[:, :, part.key_start : part.key_end]
            if part.causal:  # a key is seen by its query and later ones: causal in reverse order
                q_part, k_part = q_part.flip(2), k_part.flip(2)
            mask = None if part.mask is None else part.mask.transpose(2, 3)
            _, lse = fused_call(k_part, q_part, q_part[..., :ALIGNED] * 0, part.causal, mask)
            lse = lse.flip(2) if part.causal else lse
            totals[:, :, part.key_start : part.key_end] += lse.exp()
        return totals

    def weights_at(
        self, query: Int[Tensor, " pair"], key: Int[Tensor, " pair"]
    ) -> Float[Tensor, "batch head pair"]:
        """Return the weights of single pairs; 0 where the key is invisible."""
        batch, heads, _, dim = self.query.shape
        step = max(1, PAIR_NUMBERS // (batch * heads * dim))
        weights = []
        for start in range(0, len(query), step):
            rows, columns = query[start : start + step], key[start : start + step]
            visible = self.visibility.visible_pairs(rows, columns)[:, None]
            columns = columns.clamp(0, self.key.shape[2] - 1)
            scores = _dot(self.query[:, :, rows], self.key[:, :, columns])  # (B, h, pair)
            weights.append((scores - self.lse[:, :, rows]).exp().masked_fill(~visible, 0.0))
        return torch.cat(weights, -1) if weights else self.query.new_zeros(batch, heads, 0)

    def distance(self) -> Float[Tensor, "batch head query"]:
        """Return the expected |query position - key position|, tokens; queries and keys one text.

        Keys are grouped into segments. For a segment before or after the query's segment, the fused
        call gives its weight and mean position. All terms are positive, so that no digits are lost
        where the weight is near. The query's segment is computed weight by weight.
        """
        length, segments = self._segment, -(-self.key.shape[2] // self._segment)
        position = torch.arange(self.query.shape[2], device=self.query.device)
        edge = torch.arange(segments, device=self.query.device) * length
        segment = (position // length)[:, None]  # (q, 1), of each query
        before = edge // length < segment  # (q, segment)
        after = edge // length > segment
        mass, to_end, to_start = torch.split(self._first_pass.segments, segments, -1)
        gap = (position[:, None] - edge - length).float() * before
        gap = gap + (edge - position[:, None]).float() * after
        far = (mass * gap + to_end * before + to_start * after).sum(-1)
        # range: reading `edge` would wait for a GPU once per segment.
        near = [self._near(start, start + length) for start in range(0, self.key.shape[2], length)]
        return far + torch.cat(near, -1)

    def _near(self, start: int, end: int) -> Float[Tensor, "batch head query"]:
        """Return the part of the distance within one segment of queries and keys."""
        rows = slice(start, end)
        scores = torch.matmul(self.query[:, :, rows], self.key[:, :, rows].transpose(2, 3))
        weights = scores.sub_(self.lse[:, :, rows, None]).exp_()
        position = torch.arange(weights.shape[2], device=weights.device)
        end = start + len(position)
        visible = self.visibility.table(start, end, start, end)[:, None]
        apart = (position[:, None] - position).abs() * visible
        return _dot(weights.masked_fill_(~visible, 0.0), apart.float())

    def of_text(self, index: int) -> FusedRows:
        """Return the rows of one text of a batch, for `weights_at`."""
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
        one.__dict__["lse"] = self.lse[part]  # where the cached property stores its result
        return one

    @cached_property
    def without_keys(self) -> Bool[Tensor, "batch 1 query"]:
        """Mask of the queries without visible keys."""
        return (self.visibility.count == 0)[:, None]

    @cached_property
    def _segment(self) -> int:
        """Keys per segment: few segments are few columns, short ones few single weights."""
        return 1 << max(7, math.ceil(math.log2(16 * self.key.shape[2]) / 2))

    @cached_property
    def _first_pass(self) -> _FirstPass:
        columns = [self.value, self.key]
        if self.query.shape[2] == self.key.shape[2]:
            columns.append(self._segment_columns().expand(*self.key.shape[:2], -1, -1))
        outputs, lse = self._run(self.query, self.key, torch.cat(columns, -1))
        sizes = [column.shape[-1] for column in columns]
        output, mean_key, *segments = torch.split(outputs, sizes, -1)
        return _FirstPass(output, lse, mean_key, segments[0] if segments else outputs[..., :0])

    def _segment_columns(self) -> Float[Tensor, "key column"]:
        """Return, per key and segment: one-hot, distance to the segment's end, to its start."""
        length, keys = self._segment, self.key.shape[2]
        position = torch.arange(keys, device=self.key.device)
        segment = torch.arange(-(-keys // length), device=self.key.device)
        one_hot = (position[:, None] // length == segment).float()
        offset = (position % length).float()[:, None]
        return torch.cat([one_hot, one_hot * (length - offset), one_hot * offset], -1)

    @cached_property
    def _parts(self) -> tuple[Part, ...]:
        batch, queries, keys = self.query.shape[0], self.query.shape[2], self.key.shape[2]
        return parts(self.visibility, batch, queries, keys)

    def _run(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return output and log-sum-exp of all parts."""
        outputs, lse = zip(
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
        return torch.cat(outputs, 2), torch.cat(lse, 2)


class _FirstPass(NamedTuple):
    """Results of the first fused call."""

    output: Float[Tensor, "batch head query value_dim"]
    lse: Float[Tensor, "batch head query"]
    mean_key: Float[Tensor, "batch head query dim"]
    segments: Float[Tensor, "batch head query column"]


def _for_heads(tensor: Tensor, heads: int) -> Tensor:
    """Repeat each key head for the query heads of its group."""
    groups = tensor.shape[1]
    if groups == heads:
        return tensor
    return tensor.repeat_interleave(heads // groups, dim=1)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Return the inner products along the last axis."""
    return (one * other).sum(-1)
