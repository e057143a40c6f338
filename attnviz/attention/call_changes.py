"""Changes of attention calls within a context: before the weights are computed, and after.

A change belongs to one context, as a recorder does: edits of one user do not reach the captures of
another, although both run the same model through the same function. Changes before the call are
recorded: a capture shows the weights that the model used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from attnviz.attention.recorder import Call

__all__ = ["CallChange", "changed_call", "changed_output", "changing"]


class CallChange(Protocol):
    """Object that may replace the arguments and the output of every attention call."""

    def call(self, call: Call) -> Call:
        """Return the call that is computed and recorded in place of `call`."""
        ...

    def output(
        self, call: Call, output: Float[Tensor, "batch query head value_dim"]
    ) -> Float[Tensor, "batch query head value_dim"]:
        """Return the output that the model continues with."""
        ...


_changes: ContextVar[tuple[CallChange, ...]] = ContextVar("attnviz_call_changes", default=())


@contextmanager
def changing(change: CallChange) -> Iterator[None]:
    """Apply `change` to all attention calls of the current context, after the outer changes."""
    token = _changes.set((*_changes.get(), change))
    try:
        yield
    finally:
        _changes.reset(token)


def changed_call(call: Call) -> Call:
    """Return a call after the changes of the current context."""
    for change in _changes.get():
        call = change.call(call)
    return call


def changed_output(call: Call, output: Tensor) -> Tensor:
    """Return the output of a call after the changes of the current context."""
    for change in _changes.get():
        output = change.output(call, output)
    return output
