"""Ways to cut a cache of keys and values, and the bytes that each leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from attnviz.efficient.cache_size import kv_cache_bytes
from attnviz.errors import InputError
from attnviz.experiments.generation.rounded_numbers import Axis

__all__ = ["CacheCut", "Method"]

Method = Literal["window", "first", "heavy", "round"]
BITS = (8, 4, 2)
SCALE_BYTES = 4  # scales and offsets are float32


@dataclass(frozen=True)
class CacheCut:
    """Rule that cuts the cache of each layer with full attention.

        window   the last `budget` tokens
        first    the first `first` tokens and the last `budget` - `first` (StreamingLLM, Xiao 2023)
        heavy    in each head, the last half of `budget`, and from the others those that received
                 most weight so far (H2O, Zhang et al. 2023)
        round    all tokens; in groups of `group`, keys and values as integers of `bits` bits
                 (KIVI, Liu et al. 2024); the tokens of a group that is not full stay exact

    A budget counts the token that is being read. Kept keys stay rotated for their true positions.

    Attributes:
        method: one of the four.
        budget: number of tokens that a query sees, itself included.
        first: number of first tokens that stay.
        bits: 8, 4 or 2.
        group: number of tokens of a group; a multiple of 8.
        key_axis: what shares a scale in the keys: "channel" or "token".
        value_axis: what shares a scale in the values.
    """

    method: Method
    budget: int = 64
    first: int = 1
    bits: int = 4
    group: int = 32
    key_axis: Axis = "channel"
    value_axis: Axis = "token"

    def __post_init__(self) -> None:
        """Refuse rules that keep nothing.

        Raises:
            InputError: a number outside its range, or an unknown method.
        """
        if self.method not in ("window", "first", "heavy", "round"):
            raise InputError(
                f"a cache is cut by window, first, heavy or round, not {self.method!r}"
            )
        if self.method == "round":
            if self.bits not in BITS:
                raise InputError(f"numbers are rounded to 8, 4 or 2 bits, not {self.bits}")
            if self.group < 8 or self.group % 8:
                raise InputError(f"a group is a multiple of 8 tokens, not {self.group}")
            if {self.key_axis, self.value_axis} - {"channel", "token"}:
                raise InputError("an axis is 'channel' or 'token'")
            return
        if self.budget < 1:
            raise InputError(f"a budget is at least 1 token, not {self.budget}")
        if self.method == "first" and not 1 <= self.first < self.budget:
            raise InputError(
                f"of a budget of {self.budget} tokens, 1 to {self.budget - 1} can be the first "
                f"ones, not {self.first}; the token that is read needs a place too"
            )
        if self.method == "heavy" and self.budget < 2:
            raise InputError("heavy hitters need a budget of at least 2 tokens, half of it recent")

    @property
    def label(self) -> str:
        """Short description for legends."""
        if self.method == "window":
            return f"last {self.budget}"
        if self.method == "first":
            return f"first {self.first} + last {self.budget - self.first}"
        if self.method == "heavy":
            return f"heavy {self.budget - self.recent} + last {self.recent}"
        axes = "" if (self.key_axis, self.value_axis) == ("channel", "token") else (
            f", keys per {self.key_axis}, values per {self.value_axis}"
        )  # fmt: skip
        return f"int{self.bits}{axes}"

    @property
    def recent(self) -> int:
        """Number of last tokens that heavy hitters always keep, the query included."""
        return (self.budget + 1) // 2

    def bytes(self, tokens: int, *, kv_heads: int, d_head: int, bytes_per_number: float = 4) -> int:
        """Return the bytes of one layer's keys and values after `tokens` tokens of one text.

        Without rounding: 2 · kv_heads · d_head · min(tokens, budget) · bytes_per_number. With it,
        for each full group and head: 2 · group · d_head · bits / 8 for the codes, and a scale and
        an offset (4 bytes each) per channel of the keys and per token of the values, or as the
        axes are set.
        """
        if self.method != "round":
            return kv_cache_bytes(
                layers=1, kv_heads=kv_heads, d_head=d_head, tokens=tokens,
                bytes_per_number=bytes_per_number, window=self.budget,
            )  # fmt: skip
        groups, rest = divmod(tokens, self.group)
        codes = kv_cache_bytes(
            layers=1, kv_heads=kv_heads, d_head=d_head, tokens=groups * self.group,
            bytes_per_number=self.bits / 8,
        )  # fmt: skip
        shared = {"channel": d_head, "token": self.group}
        scales = shared[self.key_axis] + shared[self.value_axis]
        exact = kv_cache_bytes(
            layers=1, kv_heads=kv_heads, d_head=d_head, tokens=rest,
            bytes_per_number=bytes_per_number,
        )  # fmt: skip
        return codes + 2 * SCALE_BYTES * scales * groups * kv_heads + exact
