"""Which keys a query may see: two numbers per query, and a table only where no rule will do.

They say everything about causal, windowed, chunked and full attention; one flag per key is added
for padding.
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
    """Key j is visible to query i when first[i] <= j < stop[i] and keys[j] (and dense[i, j]).

    Attributes:
        first: first visible key of each query.
        stop: one past the last visible key of each query.
        keys: which keys are real (not padding); None when all are.
        dense: only for masks that no interval describes; None otherwise.
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
        """Every query sees every key."""
        first = torch.zeros(batch, queries, dtype=torch.int32, device=device)
        made = cls(first, torch.full_like(first, keys), None, keys)
        # Known without looking: asking a GPU would make it wait.
        return made._known([0] * queries, [keys] * queries, full=True)

    @classmethod
    def causal(
        cls, batch: int, queries: int, keys: int, offset: int, device: torch.device | str = "cpu"
    ) -> Visibility:
        """Query i sees keys 0 to i + offset."""
        ends = [min(max(place + offset + 1, 0), keys) for place in range(queries)]
        stop = torch.tensor(ends, dtype=torch.int32, device=device).expand(batch, -1)
        made = cls(torch.zeros_like(stop), stop, None, keys)
        return made._known([0] * queries, ends, full=not queries or ends[0] == keys)

    def _known(self, first: list[int], stop: list[int], *, full: bool) -> Visibility:
        """Note on the host what the tensors say, where every text of a batch has the same rule."""
        known = {"extent": (first, stop), "_common": (first, stop), "is_full": full}
        self.__dict__.update(known)  # where cached properties keep what they found
        return self

    def padded(self, keys: Bool[Tensor, "batch key"] | None) -> Visibility:
        """The same rule with some keys taken out."""
        return self if keys is None else Visibility(self.first, self.stop, keys, self.n_keys)

    @classmethod
    def from_table(cls, visible: Bool[Tensor, "batch query key"]) -> Visibility:
        """The smallest description of a table of flags.

        An interval per query if that says it all, with the keys that nobody sees taken out
        (padding) if that does, and the table itself only if neither.
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
        """Whether every query sees every key, so that nothing need be masked."""
        return (
            self.dense is None
            and self.keys is None
            and bool((self.first == 0).all())
            and bool((self.stop == self.n_keys).all())
        )

    @cached_property
    def extent(self) -> tuple[list[int], list[int]]:
        """Per query, over the batch: the first key any row sees, one past the last. On the host."""
        return self.first.amin(0).tolist(), self.stop.amax(0).tolist()

    def within(self, start: int, end: int) -> tuple[int, int]:
        """The first key that any query of a block sees, and one past the last."""
        first, stop = self.extent
        return min(first[start:end]), max(max(stop[start:end]), 1)

    @cached_property
    def is_causal(self) -> bool:
        """Whether query i sees the keys 0 to i and no others, in every text."""
        if self.dense is not None or self.keys is not None or self.n_keys != self.stop.shape[1]:
            return False
        rule = ([0] * self.n_keys, list(range(1, self.n_keys + 1)))
        return self.extent == rule and self._common == rule

    @cached_property
    def _common(self) -> tuple[list[int], list[int]]:
        """Like `extent`, but what every text of the batch sees. On the host."""
        return self.first.amax(0).tolist(), self.stop.amin(0).tolist()

    def ragged(self, start: int, end: int, key_start: int, key_end: int) -> list[tuple[int, int]]:
        """The stretches of keys in which some query of a block sees a key and another does not.

        Outside them nothing need be masked: in a causal block that is all but its last corner.
        """
        if self.is_full or start >= end:
            return []
        if self.dense is not None or self.keys is not None:
            return [(key_start, key_end)]
        all_see, all_seen = self._common
        left, right = max(all_see[start:end]), min(all_seen[start:end])
        if left >= right:
            return [(key_start, key_end)]
        stretches = [(key_start, min(left, key_end)), (max(right, key_start), key_end)]
        return [(first, last) for first, last in stretches if first < last]

    def hidden(
        self, start: int, end: int, key_start: int, key_end: int
    ) -> list[tuple[int, int, Bool[Tensor, "batch 1 query key"]]]:
        """The stretches of `ragged`, each with what is not seen there.

        Small ones, the corners of causal blocks, are alike from block to block and from layer to
        layer: each is made once.
        """
        return [
            (left, right, self._corner(start, end, left, right))
            for left, right in self.ragged(start, end, key_start, key_end)
        ]

    def _corner(
        self, start: int, end: int, left: int, right: int
    ) -> Bool[Tensor, "batch 1 query key"]:
        """What queries start..end do not see of keys left..right."""
        if right - left > 2 * (end - start):
            return ~self.table(start, end, left, right)[:, None]
        name: tuple[object, ...] = (start, end, left, right)
        if self._is_one_rule:
            first, stop = (bound[start:end] for bound in self.extent)
            width = right - left
            name = (width, *(min(max(place - left, 0), width) for place in first + stop))
        if name not in self._corners:
            self._corners[name] = ~self.table(start, end, left, right)[:, None]
        return self._corners[name]

    @cached_property
    def _is_one_rule(self) -> bool:
        """Whether all there is to know is one interval per query, the same in every text."""
        return self.dense is None and self.keys is None and self._common == self.extent

    @cached_property
    def _corners(self) -> dict[tuple[object, ...], Tensor]:
        return {}

    def table(
        self,
        start: int = 0,
        end: int | None = None,
        key_start: int = 0,
        key_end: int | None = None,
    ) -> Bool[Tensor, "batch query key"]:
        """The flags of queries start..end and keys key_start..key_end."""
        rows = slice(start, end)
        columns = slice(key_start, self.n_keys if key_end is None else key_end)
        if self.dense is not None:
            return self.dense[:, rows, columns]
        key = torch.arange(columns.start, columns.stop, device=self.first.device)
        visible = (key >= self.first[:, rows, None]) & (key < self.stop[:, rows, None])
        if self.keys is not None:
            visible &= self.keys[:, None, columns]
        return visible

    def sees(
        self, query: Int[Tensor, " pair"], key: Int[Tensor, " pair"]
    ) -> Bool[Tensor, "batch pair"]:
        """Whether each query sees the key paired with it; keys outside the text are not seen."""
        inside = (key >= 0) & (key < self.n_keys)
        key = key.clamp(0, self.n_keys - 1)
        if self.dense is not None:
            return inside & self.dense[:, query, key]
        visible = inside & (key >= self.first[:, query]) & (key < self.stop[:, query])
        return visible if self.keys is None else visible & self.keys[:, key]

    @cached_property
    def count(self) -> Int[Tensor, "batch query"]:
        """How many keys each query sees."""
        if self.dense is not None:
            return self.dense.sum(-1).int()
        if self.keys is None:
            return self.stop - self.first
        before = torch.nn.functional.pad(self.keys.int().cumsum(-1), (1, 0))
        return (before.gather(1, self.stop.long()) - before.gather(1, self.first.long())).int()

    def seen_by(self) -> Int[Tensor, "batch key"]:
        """How many queries see each key."""
        if self.dense is not None:
            return self.dense.sum(1).int()
        # +1 where a row's interval opens, -1 where it closes; the running sum counts the open ones.
        change = self.first.new_zeros(self.first.shape[0], self.n_keys + 1)
        open_rows = (self.stop > self.first).int()
        change.scatter_add_(1, self.first.long(), open_rows)
        change.scatter_add_(1, self.stop.long(), -open_rows)
        seen = change.cumsum(1)[:, : self.n_keys].int()
        return seen if self.keys is None else seen * self.keys.int()

    def on(self, device: torch.device) -> Visibility:
        """The same rule on a device; made there once."""
        if device == self.first.device:
            return self
        if device not in self._elsewhere:

            def moved(tensor: Tensor | None) -> Tensor | None:
                return None if tensor is None else tensor.to(device)

            self._elsewhere[device] = Visibility(
                self.first.to(device),
                self.stop.to(device),
                moved(self.keys),
                self.n_keys,
                moved(self.dense),
            )
        return self._elsewhere[device]

    @cached_property
    def _elsewhere(self) -> dict[torch.device, Visibility]:
        return {}

    def of_text(self, index: int, queries: int, keys: int) -> Visibility:
        """The rule of one text of a batch, without its padding; still with a batch axis of 1.

        On the host, and made once: every layer asks for the same again.
        """
        asked = (index, queries, keys)
        if asked not in self._texts:
            self._texts[asked] = self._text(*asked)
        return self._texts[asked]

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
