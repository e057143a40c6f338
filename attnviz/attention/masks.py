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
from jaxtyping import Bool, Float
from torch import Tensor
from transformers.masking_utils import (
    bidirectional_mask_function,
    causal_mask_function,
    prepare_padding_mask,
    sdpa_mask,
)

from attnviz.attention.visibility import Visibility

__all__ = ["LazyMask", "MaskRule", "lazy_mask", "split_mask"]

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
    """Tensor of flags (batch, 1, query, key) that stores only the rule.

    A tensor operation on it computes the flags first, so that a model that slices or adds its mask
    is correct and loses only the saving.
    """

    rule: MaskRule

    @staticmethod
    def __new__(cls: type[LazyMask], rule: MaskRule) -> LazyMask:
        """Return a mask of the rule's shape without storage for flags."""
        mask: LazyMask = Tensor._make_wrapper_subclass(
            cls,
            (rule.batch, 1, rule.queries, rule.keys),
            dtype=torch.bool,
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

    def materialize(self) -> Bool[Tensor, "batch 1 query key"]:
        """Return the mask of visible pairs as an ordinary tensor."""
        return self.visibility.table()[:, None]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Replace lazy masks by their flags, then run the operation."""

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
        return table
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
        )
    )


def split_mask(
    mask: Tensor | None, batch: int, queries: int, keys: int, device: torch.device
) -> tuple[Visibility, Float[Tensor, "batch head query key"] | None]:
    """Return the visible keys and the bias (None without one) of an attention call's mask.

    The mask is None (all keys visible), a mask of visible pairs, or numbers that are added to the
    scores: the lowest numbers of the dtype hide a key, the others are a bias.
    """
    if mask is None:
        return Visibility.full(batch, queries, keys, device), None
    if isinstance(mask, LazyMask):
        return mask.visibility, None
    if mask.dtype == torch.bool:
        return Visibility.from_table(mask[:, 0].expand(batch, queries, keys)), None
    hidden = mask <= torch.finfo(mask.dtype).min / 2
    visibility = Visibility.from_table(~hidden[:, 0].expand(batch, queries, keys))
    bias = mask.masked_fill(hidden, 0.0)
    return visibility, bias if bool((bias != 0).any()) else None
