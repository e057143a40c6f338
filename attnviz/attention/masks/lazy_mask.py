"""Lazy attention masks: the library's mask rules, without tables of flags.

The library calls a mask function for a (batch, 1, query, key) tensor and passes it to the
attention function of each layer. `lazy_mask` returns a `LazyMask`: a tensor subclass that holds
only the rule, and computes the table if the model computes with its mask. The attention function
turns it into a `Visibility`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers.masking_utils import (
    bidirectional_mask_function,
    causal_mask_function,
    prepare_padding_mask,
    sdpa_mask,
)

from attnviz.attention.masks.visibility import Visibility
from attnviz.errors import ModelNotSupported

__all__ = ["LazyMask", "MaskRule", "added_to_scores", "lazy_mask", "only_selected", "split_mask"]

PROBE_ROWS = 256  # rows of a rule evaluated together: 256 x 16,000 flags are 4 MB


@dataclass(frozen=True)
class MaskRule:
    """Mask as the library describes it: a predicate over indices, and a padding mask."""

    predicate: Callable[..., Tensor]
    batch: int
    queries: int
    keys: int
    query_offset: int
    key_offset: int
    padding: Bool[Tensor, "batch key"] | None
    device: torch.device
    dtype: torch.dtype = torch.float32

    def _rows(self, start: int, stop: int) -> Bool[Tensor, "batch query key"]:
        batch = torch.arange(self.batch, device=self.device)[:, None, None, None]
        head = torch.zeros(1, dtype=torch.long, device=self.device)[None, :, None, None]
        query = torch.arange(start, stop, device=self.device) + self.query_offset
        key = torch.arange(self.keys, device=self.device) + self.key_offset
        flags = self.predicate(batch, head, query[None, None, :, None], key[None, None, None, :])
        return flags.expand(self.batch, 1, stop - start, self.keys)[:, 0]

    def visibility(self) -> Visibility:
        """Return the rule as a `Visibility`; the predicate is evaluated block by block."""
        padding = self.padding
        if padding is not None and bool(padding.all()):
            padding = None
        sizes = (self.batch, self.queries, self.keys)
        if self.predicate is bidirectional_mask_function:
            return Visibility.full(*sizes, self.device).padded(padding)
        if self.predicate is causal_mask_function:
            offset = self.query_offset - self.key_offset
            return Visibility.causal(*sizes, offset, self.device).padded(padding)
        blocks = []
        for start in range(0, self.queries, PROBE_ROWS):
            block = Visibility.from_table(
                self._rows(start, min(start + PROBE_ROWS, self.queries)).clone()
            )
            if block.dense is not None or block.keys is not None:
                return self._dense()
            blocks.append(block)
        first = torch.cat([block.first for block in blocks], 1)
        stop = torch.cat([block.stop for block in blocks], 1)
        return Visibility(first, stop, padding, self.keys)

    def _dense(self) -> Visibility:
        visible = self._rows(0, self.queries).clone()
        if self.padding is not None:
            visible &= self.padding[:, None, :]
        return Visibility.from_table(visible)


class LazyMask(Tensor):
    """Tensor (batch, 1, query, key) that is added to scores, and stores only the rule.

    Its numbers are those of the library's eager mask: 0 where a key is visible, the lowest number
    of the dtype elsewhere. A tensor operation computes them first, so that a model that slices its
    mask, adds to it or routes tokens by it is correct and loses only the saving.
    """

    rule: MaskRule

    @staticmethod
    def __new__(cls: type[LazyMask], rule: MaskRule) -> LazyMask:
        """Return a mask of the rule's shape without storage for its numbers."""
        mask: LazyMask = Tensor._make_wrapper_subclass(
            cls,
            (rule.batch, 1, rule.queries, rule.keys),
            dtype=rule.dtype,
            device=rule.device,
        )
        mask.rule = rule
        return mask

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"LazyMask({tuple(self.shape)})"

    @cached_property
    def visibility(self) -> Visibility:
        """Visible keys of each query; computed once for all layers."""
        return self.rule.visibility()

    def materialize(self) -> Float[Tensor, "batch 1 query key"]:
        """Return the numbers that are added to the scores as an ordinary tensor."""
        return added_to_scores(self.visibility.table()[:, None], self.rule.dtype)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Replace lazy masks by their numbers, then run the operation."""

        def plain(value: Any) -> Any:
            return value.materialize() if isinstance(value, LazyMask) else value

        args = torch.utils._pytree.tree_map(plain, args)
        kwargs = torch.utils._pytree.tree_map(plain, kwargs or {})
        return func(*args, **kwargs)


def lazy_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., Tensor] = causal_mask_function,
    attention_mask: Tensor | None = None,
    use_vmap: bool = False,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    **unused: Any,
) -> Tensor:
    """Return the mask of an attention call; registered with the library, in its argument names.

    Never None: the library passes no mask to an attention without a mask function, and a causal
    model then sees future tokens without an error.
    """
    if use_vmap:  # the predicate indexes tensors, which does not broadcast
        table = sdpa_mask(
            batch_size, q_length, kv_length, int(q_offset), kv_offset, mask_function,
            attention_mask, allow_is_causal_skip=False, use_vmap=True, device=device,
        )  # fmt: skip
        if not isinstance(table, Tensor):
            raise TypeError(f"the library's mask is a {type(table).__name__}, not a tensor")
        return added_to_scores(table, dtype)
    padding = prepare_padding_mask(attention_mask, kv_length, kv_offset)
    if padding is not None:
        padding = padding[:, kv_offset : kv_offset + kv_length].to(device=device, dtype=torch.bool)
    return LazyMask(
        MaskRule(
            mask_function,
            batch_size,
            q_length,
            kv_length,
            int(q_offset),
            kv_offset,
            padding,
            torch.device(device),
            dtype,
        )
    )


def added_to_scores(
    visible: Bool[Tensor, "batch 1 query key"], dtype: torch.dtype
) -> Float[Tensor, "batch 1 query key"]:
    """Return 0 where a pair is visible and the lowest number of the dtype elsewhere."""
    zero = torch.zeros((), dtype=dtype, device=visible.device)
    return torch.where(visible, zero, torch.finfo(dtype).min)


def split_mask(
    mask: Tensor | None, batch: int, queries: int, keys: int, device: torch.device
) -> tuple[Visibility, Float[Tensor, "batch head query key"] | None]:
    """Return the visible keys and the bias (None without one) of an attention call's mask.

    The mask is None (all keys visible), a mask of visible pairs, or numbers that are added to the
    scores: the lowest numbers of the dtype hide a key, the others are a bias.

    Raises:
        ModelNotSupported: the heads of a layer have different masks.
    """
    if mask is None:
        return Visibility.full(batch, queries, keys, device), None
    if isinstance(mask, LazyMask):
        return mask.visibility, None
    if mask.dtype == torch.bool:
        return Visibility.from_table(_of_all_heads(mask).expand(batch, queries, keys)), None
    hidden = mask <= torch.finfo(mask.dtype).min / 2
    visibility = Visibility.from_table(~_of_all_heads(hidden).expand(batch, queries, keys))
    bias = mask.masked_fill(hidden, 0.0)
    return visibility, bias if bool((bias != 0).any()) else None


def only_selected(
    visibility: Visibility, indices: Int[Tensor, "batch query selected"]
) -> Visibility:
    """Return the visible keys that are also selected, as in DeepSeek's sparse attention.

    Args:
        visibility: visible keys by the mask.
        indices: selected keys of each query.
    """
    if indices.shape[-1] >= visibility.n_keys:
        return visibility
    visible = visibility.table()
    selected = torch.zeros_like(visible, device=indices.device).scatter(-1, indices.long(), True)
    return Visibility.from_table(visible & selected.to(visible.device))


def _of_all_heads(flags: Bool[Tensor, "batch head query key"]) -> Bool[Tensor, "batch query key"]:
    """Return the flags of a mask that all heads share."""
    if flags.shape[1] > 1 and not bool((flags == flags[:, :1]).all()):
        raise ModelNotSupported(
            "in this model the heads of a layer have different masks: each chooses the keys it may "
            "see; attnviz shows layers with one mask for all heads"
        )
    return flags[:, 0]
