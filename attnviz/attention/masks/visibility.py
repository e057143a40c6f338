"""Visible keys of each query, as an interval per query and a mask of real keys.

Causal, windowed, chunked and full attention are intervals; padding is a mask of keys. A table of
flags [query, key] is stored only for masks that are neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Int
from torch import Tensor

__all__ = ["Visibility"]


@dataclass(frozen=True)
class Visibility:
    """Key j is visible to query i if first[i] <= j < stop[i] and keys[j] (and dense[i, j]).

    Attributes:
        first: first visible key of each query.
        stop: one past the last visible key of each query.
        keys: mask of real keys, False for padding; None without padding.
        n_keys: number of keys.
        dense: mask of visible pairs, if intervals do not describe it; None otherwise.
    """

    first: Int[Tensor, "batch query"]
    stop: Int[Tensor, "batch query"]
    keys: Bool[Tensor, "batch key"] | None
    n_keys: int
    dense: Bool[Tensor, "batch query key"] | None = None

    @classmethod
    def full(
        cls, batch: int, queries: int, keys: int, device: torch.device | str = "cpu"
    ) -> Visibility:
        """Return the rule under which every query sees every key."""
        first = torch.zeros(batch, queries, dtype=torch.int32, device=device)
        rule = cls(first, torch.full_like(first, keys), None, keys)
        return rule._with_bounds([0] * queries, [keys] * queries, full=True)

    @classmethod
    def causal(
        cls, batch: int, queries: int, keys: int, offset: int, device: torch.device | str = "cpu"
    ) -> Visibility:
        """Return the rule under which query i sees keys 0 to i + offset."""
        ends = [min(max(place + offset + 1, 0), keys) for place in range(queries)]
        stop = torch.tensor(ends, dtype=torch.int32, device=device).expand(batch, -1)
        rule = cls(torch.zeros_like(stop), stop, None, keys)
        return rule._with_bounds([0] * queries, ends, full=not queries or ends[0] == keys)

    def _with_bounds(self, first: list[int], stop: list[int], *, full: bool) -> Visibility:
        """Store bounds that are the same for all texts, so that they are not read from a GPU."""
        bounds = {"extent": (first, stop), "_common": (first, stop), "is_full": full}
        self.__dict__.update(bounds)  # where cached properties store their results
        return self

    def padded(self, keys: Bool[Tensor, "batch key"] | None) -> Visibility:
        """Return the same rule with only the keys of a mask; unchanged when None."""
        return self if keys is None else Visibility(self.first, self.stop, keys, self.n_keys)

    @classmethod
    def from_table(cls, visible: Bool[Tensor, "batch query key"]) -> Visibility:
        """Return the smallest exact description of a table of flags.

        An interval per query if possible; intervals and a mask of the keys that at least one query
        sees (padding) if possible; otherwise the table.
        """
        n_keys = visible.shape[-1]
        positions = torch.arange(n_keys, device=visible.device, dtype=torch.int32)
        stop = torch.where(visible, positions + 1, 0).amax(-1).int()
        first = torch.where(visible, positions, n_keys).amin(-1).masked_fill(stop == 0, 0).int()
        intervals = cls(first, stop, None, n_keys)
        if torch.equal(intervals.table(), visible):
            return intervals
        padded = cls(first, stop, visible.any(dim=1), n_keys)
        if torch.equal(padded.table(), visible):
            return padded
        return cls(first, stop, None, n_keys, dense=visible)

    @cached_property
    def is_full(self) -> bool:
        """True if every query sees every key, so that no mask is needed."""
        return (
            self.dense is None
            and self.keys is None
            and bool((self.first == 0).all())
            and bool((self.stop == self.n_keys).all())
        )

    @cached_property
    def extent(self) -> tuple[list[int], list[int]]:
        """First key that any text's query i sees, and one past the last; lists on the host."""
        return self.first.amin(0).tolist(), self.stop.amax(0).tolist()

    def within(self, start: int, end: int) -> tuple[int, int]:
        """Return the first key that any query start..end-1 sees, and one past the last."""
        first, stop = self.extent
        return min(first[start:end]), max(max(stop[start:end]), 1)

    @cached_property
    def is_causal(self) -> bool:
        """True if query i sees the keys 0 to i and no others, in every text."""
        if self.dense is not None or self.keys is not None or self.n_keys != self.stop.shape[1]:
            return False
        rule = ([0] * self.n_keys, list(range(1, self.n_keys + 1)))
        return self.extent == rule and self._common == rule

    @cached_property
    def _common(self) -> tuple[list[int], list[int]]:
        """First key that all texts' queries i see, and one past the last; lists on the host."""
        return self.first.amax(0).tolist(), self.stop.amin(0).tolist()

    def masked_ranges(
        self, start: int, end: int, key_start: int, key_end: int
    ) -> list[tuple[int, int]]:
        """Return the ranges of keys that some queries start..end-1 see and others do not.

        Keys outside them need no mask; a causal block needs one in its last corner only.
        """
        if self.is_full or start >= end:
            return []
        if self.dense is not None or self.keys is not None:
            return [(key_start, key_end)]
        first, stop = self._common
        left, right = max(first[start:end]), min(stop[start:end])
        if left >= right:
            return [(key_start, key_end)]
        ranges = [(key_start, min(left, key_end)), (max(right, key_start), key_end)]
        return [(first_key, last_key) for first_key, last_key in ranges if first_key < last_key]

    def hidden(
        self, start: int, end: int, key_start: int, key_end: int
    ) -> list[tuple[int, int, Bool[Tensor, "batch 1 query key"]]]:
        """Return the `masked_ranges`, each with the mask of its invisible keys."""
        return [
            (left, right, self._hidden_mask(start, end, left, right))
            for left, right in self.masked_ranges(start, end, key_start, key_end)
        ]

    def _hidden_mask(
        self, start: int, end: int, left: int, right: int
    ) -> Bool[Tensor, "batch 1 query key"]:
        """Return the mask of the keys left..right-1 that queries start..end-1 do not see.

        Small masks, the corners of causal blocks, are cached: blocks and layers share them.
        """
        if right - left > 2 * (end - start):
            return ~self.table(start, end, left, right)[:, None]
        cache_key: tuple[object, ...] = (start, end, left, right)
        if self._is_one_rule:
            first, stop = (bound[start:end] for bound in self.extent)
            width = right - left
            cache_key = (width, *(min(max(key - left, 0), width) for key in first + stop))
        if cache_key not in self._masks:
            self._masks[cache_key] = ~self.table(start, end, left, right)[:, None]
        return self._masks[cache_key]

    @cached_property
    def _is_one_rule(self) -> bool:
        """True if the rule is one interval per query, the same in every text."""
        return self.dense is None and self.keys is None and self._common == self.extent

    @cached_property
    def _masks(self) -> dict[tuple[object, ...], Tensor]:
        return {}

    def table(
        self,
        start: int = 0,
        end: int | None = None,
        key_start: int = 0,
        key_end: int | None = None,
    ) -> Bool[Tensor, "batch query key"]:
        """Return the mask of visible pairs, queries start..end-1 and keys key_start..key_end-1."""
        rows = slice(start, end)
        columns = slice(key_start, self.n_keys if key_end is None else key_end)
        if self.dense is not None:
            return self.dense[:, rows, columns]
        key = torch.arange(columns.start, columns.stop, device=self.first.device)
        visible = (key >= self.first[:, rows, None]) & (key < self.stop[:, rows, None])
        if self.keys is not None:
            visible &= self.keys[:, None, columns]
        return visible

    def visible_pairs(
        self, query: Int[Tensor, " pair"], key: Int[Tensor, " pair"]
    ) -> Bool[Tensor, "batch pair"]:
        """Return the mask of pairs whose key is visible; False for keys outside the text."""
        inside = (key >= 0) & (key < self.n_keys)
        key = key.clamp(0, self.n_keys - 1)
        if self.dense is not None:
            return inside & self.dense[:, query, key]
        visible = inside & (key >= self.first[:, query]) & (key < self.stop[:, query])
        return visible if self.keys is None else visible & self.keys[:, key]

    @cached_property
    def count(self) -> Int[Tensor, "batch query"]:
        """Number of visible keys of each query."""
        if self.dense is not None:
            return self.dense.sum(-1).int()
        if self.keys is None:
            return self.stop - self.first
        before = torch.nn.functional.pad(self.keys.int().cumsum(-1), (1, 0))
        return (before.gather(1, self.stop.long()) - before.gather(1, self.first.long())).int()

    def seen_by(self) -> Int[Tensor, "batch key"]:
        """Return the number of queries that see each key."""
        if self.dense is not None:
            return self.dense.sum(1).int()
        # +1 where an interval begins, -1 where it ends; the running sum counts the intervals.
        change = self.first.new_zeros(self.first.shape[0], self.n_keys + 1)
        open_rows = (self.stop > self.first).int()
        change.scatter_add_(1, self.first.long(), open_rows)
        change.scatter_add_(1, self.stop.long(), -open_rows)
        counts = change.cumsum(1)[:, : self.n_keys].int()
        return counts if self.keys is None else counts * self.keys.int()

    def on(self, device: torch.device) -> Visibility:
        """Return the same rule on a device; cached."""
        if device == self.first.device:
            return self
        if device not in self._on_devices:

            def moved(tensor: Tensor | None) -> Tensor | None:
                return None if tensor is None else tensor.to(device)

            self._on_devices[device] = Visibility(
                self.first.to(device),
                self.stop.to(device),
                moved(self.keys),
                self.n_keys,
                moved(self.dense),
            )
        return self._on_devices[device]

    @cached_property
    def _on_devices(self) -> dict[torch.device, Visibility]:
        return {}

    def of_text(self, index: int, queries: int, keys: int) -> Visibility:
        """Return the rule of one text of a batch without its padding; the batch axis is 1.

        On the host and cached: all layers use the same rule.
        """
        cache_key = (index, queries, keys)
        if cache_key not in self._texts:
            self._texts[cache_key] = self._text(*cache_key)
        return self._texts[cache_key]

    @cached_property
    def _texts(self) -> dict[tuple[int, int, int], Visibility]:
        return {}

    def _text(self, index: int, queries: int, keys: int) -> Visibility:
        rows = slice(index, index + 1)
        flags = None if self.keys is None else self.keys[rows, :keys].cpu().clone()
        return Visibility(
            self.first[rows, :queries].clamp(max=keys).cpu(),
            self.stop[rows, :queries].clamp(max=keys).cpu(),
            None if flags is None or bool(flags.all()) else flags,
            keys,
            None if self.dense is None else self.dense[rows, :queries, :keys].cpu(),
        )
