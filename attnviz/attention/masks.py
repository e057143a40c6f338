"""The library's masks, kept as rules and never as tables where a rule will do.

The library asks a mask function for a (batch, 1, query, key) tensor and hands it, layer by layer,
to the attention function. Ours hands over a `LazyMask`: a tensor to everyone who looks, but it
holds only the rule, and builds the table if some model insists on computing with it. The attention
function turns it into a `Visibility`.
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

PROBE_ROWS = 256  # rows of a rule that are looked at together: 256 x 16,000 flags are 4 MB


@dataclass(frozen=True)
class MaskRule:
    """A mask as the library describes it: a predicate over indices, and the padding."""

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
        """The rule as intervals, found by asking the predicate block by block."""
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
    """A (batch, 1, query, key) tensor of flags that exists only as a rule.

    Passing it along costs nothing. Any tensor operation on it sees, and gets, the real flags; so a
    model that slices or adds its mask stays correct and merely loses the saving.
    """

    rule: MaskRule

    @staticmethod
    def __new__(cls: type[LazyMask], rule: MaskRule) -> LazyMask:
        """A mask of the rule's shape that holds the rule and no numbers."""
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
        """The rule as intervals; found once, though every layer asks."""
        return self.rule.visibility()

    def materialize(self) -> Bool[Tensor, "batch 1 query key"]:
        """The flags themselves."""
        return self.visibility.table()[:, None]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Whatever is computed with the mask is computed with its flags."""

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
    """The mask function registered with the library, with the library's own argument names.

    A model whose attention is registered without a mask function gets no mask at all, and a
    causal one then sees the future without a word; so this one never returns None.
    """
    if use_vmap:  # the predicate reads tensors by index and cannot be broadcast
        table = sdpa_mask(
            batch_size, q_length, kv_length, int(q_offset), kv_offset, mask_function,
            attention_mask, allow_is_causal_skip=False, use_vmap=True, device=device,
        )  # fmt: skip
        assert isinstance(table, Tensor)  # noqa: S101 - skipping is what we just forbade
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
    """What an attention function was given as a mask: who sees whom, and what is added to scores.

    A model may pass nothing (everything is visible), flags, or numbers to add. Among added numbers
    the hugely negative ones mean "not visible" and the rest is a bias.
    """
    if mask is None:
        return Visibility.full(batch, queries, keys, device), None
    if isinstance(mask, LazyMask):
        return mask.visibility, None
    if mask.dtype == torch.bool:
        return Visibility.from_table(mask[:, 0].expand(batch, queries, keys)), None
    hidden = mask <= torch.finfo(mask.dtype).min / 2
    visibility = Visibility.from_table(~hidden[:, 0].expand(batch, queries, keys))
    added = mask.masked_fill(hidden, 0.0)
    return visibility, added if bool((added != 0).any()) else None
