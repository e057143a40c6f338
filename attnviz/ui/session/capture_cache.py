"""Captures kept for the next visitor, bounded by the memory they take."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch

__all__ = ["Shelf", "size"]

Value = TypeVar("Value")


class _Making:
    """Lock of a value in the making, and the number of threads that hold it or wait for it."""

    def __init__(self) -> None:
        self.lock, self.threads = threading.Lock(), 0


class Shelf(Generic[Value]):
    """Remembers what was made, the newest first, while all of it fits into `limit` bytes.

    A count of entries, as `st.cache_resource` bounds them, is no bound here: a capture of a
    sentence takes a megabyte, one of four thousand tokens hundreds. The newest value stays even
    when it is larger than the limit. One value is made once, however many people ask for it.
    """

    def __init__(self, limit: int, entries: int = 64) -> None:
        self.limit, self.entries = limit, entries
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._making: dict[Hashable, _Making] = {}
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Return what all of it takes."""
        with self._lock:
            return sum(taken for _, taken in self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)

    def get(
        self,
        key: Hashable,
        make: Callable[[], Value],
        waiting: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> Value:
        """Return the value of a key; make it when it is missing.

        An exception of `make` is raised here, and neither it nor the key is kept.

        Args:
            key: everything that the value depends on.
            make: returns the value.
            waiting: context around `make`, and around the wait for another thread that runs it.
        """
        value = self._find(key)
        if value is not None:
            return value
        with self._lock:
            making = self._making.setdefault(key, _Making())
            making.threads += 1
        try:
            with waiting(), making.lock:
                value = self._find(key)
                if value is None:
                    value = make()
                    self._keep(key, value)
            return value
        finally:
            with self._lock:
                making.threads -= 1
                if not making.threads:  # the key holds a text: a refused one is not kept
                    del self._making[key]

    def clear(self) -> None:
        """Remove all values."""
        with self._lock:
            self._kept.clear()

    def _find(self, key: Hashable) -> Value | None:
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def _keep(self, key: Hashable, value: Value) -> None:
        taken = size(value)
        with self._lock:
            self._kept[key] = (value, taken)
            while len(self._kept) > 1 and (
                len(self._kept) > self.entries
                or sum(one for _, one in self._kept.values()) > self.limit
            ):
                self._kept.popitem(last=False)


def size(thing: object) -> int:
    """Return the bytes of all tensors and arrays that a value holds."""
    if isinstance(thing, torch.Tensor):
        return thing.numel() * thing.element_size()
    if isinstance(thing, np.ndarray):
        return int(thing.nbytes)
    if isinstance(thing, (list, tuple)):
        return sum(map(size, thing))
    if isinstance(thing, Mapping):
        return sum(map(size, thing.values()))
    if is_dataclass(thing):
        return sum(size(getattr(thing, field.name)) for field in fields(thing))
    return 0
