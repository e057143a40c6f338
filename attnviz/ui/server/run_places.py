"""Places for script runs and for long passes, in fair order, with a message while waiting.

A script run holds one of the short places from its first figure to its last. A pass that takes
longer than a moment gives the short place back and waits for the long place, of which there is one,
so short runs never wait behind it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import streamlit as st
import torch
from streamlit.delta_generator import DeltaGenerator

from attnviz.findings import Progress
from attnviz.models import Model
from attnviz.ui.server.turns import Ticket, Turns
from attnviz.ui.server.visitors import visitor

__all__ = [
    "LOADS",
    "LONG",
    "SHORT",
    "aside",
    "give_way",
    "giving_way",
    "giving_way_by_count",
    "in_turn",
    "is_long",
    "takes_a_moment",
    "turn",
]

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")

PROCESSORS = os.cpu_count() or 2

# Module state, not `st.cache_resource`: clearing Streamlit's caches must not free taken places.
SHORT = Turns(PROCESSORS)
"""Script runs that compute at the same time."""

LONG = Turns(1)
"""Passes over long texts and with large models."""

LOADS = Turns(1)
"""Loads of models that do not come with attnviz."""

MOMENT = 1.0
"""Seconds of waiting after which the page says how many requests are before."""

SHORT_PASS = 2e10
"""Operations of a pass that one processor does in about a second."""

AT_ONCE = 6e10
"""Operations for which a page waits: a processor takes about a second."""


class _Held(threading.local):
    """Short place that this thread holds, and where its page says what it waits for."""

    ticket: Ticket | None = None
    line: DeltaGenerator | None = None


_held = _Held()


@contextmanager
def turn() -> Iterator[None]:
    """Wait for a short place, and hold it for the length of the block.

    Within another `turn` of the same script run this does nothing. After a second of waiting the
    page shows the number of requests that are before this one.
    """
    if _held.ticket is not None:
        yield
        return
    _held.line = st.container()
    message = _Message("The server is busy", _held.line)
    _held.ticket = SHORT.take(visitor(), message.update)
    try:
        message.clear()  # within the block: a rerun may end the script here
        # Short passes run on one thread: more threads wait for each other while other runs compute.
        torch.set_num_threads(1)
        yield
    finally:
        ticket, _held.ticket, _held.line = _held.ticket, None, None
        if ticket is not None:
            SHORT.give_back(ticket)


def in_turn(function: Callable[Arguments, Value]) -> Callable[Arguments, Value]:
    """Run a fragment within `turn`: a fragment runs alone after a click on it.

    Its first element is always the container of the line: with one element more in a run by itself
    than in a run of the page, every element would be drawn anew, and an open menu would shut.
    """

    @wraps(function)
    def run(*arguments: Arguments.args, **named: Arguments.kwargs) -> Value:
        if _held.ticket is not None:
            st.container()
        with turn():
            return function(*arguments, **named)

    return run


@contextmanager
def aside(places: Turns, reason: str) -> Iterator[None]:
    """Give the short place to other runs, and hold one of `places` for the length of the block.

    A thread that holds no short place, such as a background job, only waits for its turn.

    Args:
        places: `LONG` or `LOADS`.
        reason: shown while waiting: why the place is taken.
    """
    ticket, _held.ticket = _held.ticket, None
    if ticket is None:
        with places.turn("a background job"):
            yield
        return
    who = visitor()
    SHORT.give_back(ticket)
    message = _Message(reason, _held.line)
    other = places.take(who, message.update)
    try:
        message.clear()
        torch.set_num_threads(max(1, PROCESSORS - SHORT.running))
        yield
    finally:
        places.give_back(other)
        torch.set_num_threads(1)
        _held.ticket = SHORT.take(who)


def give_way(longest: float) -> None:
    """Wait until no script run computes or waits, for at most `longest` seconds."""
    until = time.monotonic() + longest
    while SHORT.busy and time.monotonic() < until:
        time.sleep(0.01)


def giving_way(progress: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """Return a progress callback of a background job that lets script runs go first.

    At every report the job waits for them, but at most for half of its time: it goes on in a class
    that never stops. It computes on all processors but one.
    """
    torch.set_num_threads(max(1, PROCESSORS - 1))
    last = time.monotonic()

    def give_way_and_report(now: Progress) -> None:
        nonlocal last
        give_way(min(2.0, time.monotonic() - last))
        last = time.monotonic()
        progress(now)

    return give_way_and_report


def giving_way_by_count(
    progress: Callable[[Progress], None], item: str
) -> Callable[[int, int], None]:
    """Return `giving_way` as a callback for the number of finished items and that of all.

    Args:
        progress: as for `giving_way`.
        item: what is counted, such as "Token", as a sentence begins.
    """
    report, begun = giving_way(progress), time.monotonic()

    def one(done: int, total: int) -> None:
        seconds = time.monotonic() - begun
        report(Progress(f"{item} {done} of {total}", done / total, seconds))

    return one


def is_long(model: Model, tokens: int) -> bool:
    """Return whether a pass over this many tokens takes a processor longer than a second."""
    heads = sum(layers * heads for layers, heads in model.info.heads.values())
    return 2.0 * tokens * (model.info.parameters + 128 * heads * tokens) > SHORT_PASS


def takes_a_moment(model: Model, runs: int, tokens: int) -> bool:
    """Return whether so many passes over a text take a processor about a second at most."""
    return 2.0 * runs * tokens * model.info.parameters <= AT_ONCE and not is_long(model, tokens)


class _Message:
    """Line on the page while a run waits; empty before the first second and afterwards.

    Its container is there in every run: an element that comes and goes would move what follows,
    and the browser would draw that anew.

    Args:
        reason: what is said.
        place: container of the line; a new one if None.
    """

    def __init__(self, reason: str, place: DeltaGenerator | None) -> None:
        self._reason = reason
        self._place = st.container() if place is None else place
        self._line: DeltaGenerator | None = None
        self._shown = -1

    def clear(self) -> None:
        """Remove the line."""
        if self._line is not None:
            self._line.empty()

    def update(self, before: int, seconds: float) -> None:
        """Show how many requests are before this one, once that takes longer than a moment."""
        if seconds < MOMENT or before == self._shown:
            return
        self._shown = before
        requests = "1 request is" if before == 1 else f"{before} requests are"
        self._line = self._line or self._place.empty()
        self._line.info(f"{self._reason}: {requests} before yours.", icon=":material/hourglass:")
