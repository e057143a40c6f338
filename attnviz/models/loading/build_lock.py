"""Process-wide lock for building models, and cancellation of a build.

While the library builds a model, it replaces functions of torch, and the default dtype, for the
whole process. Two threads that build at the same time leave the replacements behind, and every
later load fails. The lock is a module variable: nothing in a user interface can replace it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch.nn.modules import module as torch_module

from attnviz.errors import LoadCancelled

__all__ = ["building", "cancellable", "check_wanted"]

INTERVAL = 0.2
"""Seconds between two checks whether a load is still wanted."""

_LOCK = threading.RLock()
_WANTED: ContextVar[Callable[[], bool] | None] = ContextVar("attnviz_wanted", default=None)


@contextmanager
def cancellable(wanted: Callable[[], bool] | None) -> Iterator[None]:
    """Cancel every load in this context once `wanted()` returns False; None changes nothing.

    `wanted` is called about five times a second, from the thread that loads: while the load waits
    for the lock, while modules are built, while weights are read, and before every module of a
    forward pass.
    """
    if wanted is None:
        yield
        return
    token = _WANTED.set(wanted)
    try:
        with _checked_modules():
            yield
    finally:
        _WANTED.reset(token)


def check_wanted() -> None:
    """Raise LoadCancelled if the load of this context is no longer wanted."""
    wanted = _WANTED.get()
    if wanted is not None and not wanted():
        raise LoadCancelled("loading was cancelled; load the model again if it is needed")


@contextmanager
def building() -> Iterator[None]:
    """Hold the lock for building models; the same thread may enter again.

    Raises:
        LoadCancelled: the load is no longer wanted (see `cancellable`).
    """
    check_wanted()
    while not _LOCK.acquire(timeout=INTERVAL):
        check_wanted()
    try:
        yield
    finally:
        _LOCK.release()


@contextmanager
def _checked_modules() -> Iterator[None]:
    """Call `check_wanted` when this thread adds or runs a module, at most once per interval.

    The library builds a model and reads its weights in one call; these are the only places in it
    where a load can stop.
    """
    checked, thread = time.monotonic(), threading.get_ident()

    def check(*unused: Any) -> None:
        nonlocal checked
        if threading.get_ident() == thread and time.monotonic() - checked > INTERVAL:
            checked = time.monotonic()
            check_wanted()

    handles = [
        torch_module.register_module_module_registration_hook(check),
        torch_module.register_module_parameter_registration_hook(check),
        torch_module.register_module_forward_pre_hook(check),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
