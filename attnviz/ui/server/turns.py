"""Turns: how many script runs compute at the same time, and which one is next.

Every visitor's run holds one of a few places while it computes. Waiting runs are ordered by round,
then by arrival. A visitor's first request is in the current round, and each further request of the
same visitor that arrives before the current round has passed is one round later, so no visitor's
second request runs before another visitor's first (start-time fair queueing, Goyal et al. 1996).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Ticket", "Turns"]

STEP = 0.25
"""Seconds between two calls of `waiting`."""


@dataclass(eq=False)
class Ticket:
    """Request: its visitor, its round, and its number in the order of arrival."""

    who: str
    round: int
    number: int
    granted: threading.Event = field(default_factory=threading.Event)

    @property
    def order(self) -> tuple[int, int]:
        """Sorting key: the smallest is next."""
        return self.round, self.number


class Turns:
    """Fair queue for a few places.

    Args:
        places: how many hold a place at the same time.
        clock: seconds.
    """

    def __init__(self, places: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._free = self._places = places
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: list[Ticket] = []
        self._last: dict[str, int] = {}  # the round of each visitor's latest request
        self._round = 0
        self._count = 0

    def take(self, who: str, waiting: Callable[[int, float], None] | None = None) -> Ticket:
        """Wait for a place and return the ticket that holds it.

        Args:
            who: the visitor.
            waiting: called several times a second while waiting, with the number of requests that
                are before this one (those that hold a place included) and the seconds waited. An
                exception it raises leaves the queue and is passed on.
        """
        ticket = self._enter(who)
        begun = self._clock()
        try:
            while not ticket.granted.wait(STEP if waiting else None):
                if waiting is not None:
                    waiting(self._before(ticket), self._clock() - begun)
        except BaseException:
            self.give_back(ticket)
            raise
        return ticket

    def give_back(self, ticket: Ticket) -> None:
        """Leave the place of a ticket, or the queue if it has none yet."""
        with self._lock:
            if ticket.granted.is_set():
                self._free += 1
            else:
                self._waiting.remove(ticket)
            self._grant()

    @contextmanager
    def turn(self, who: str, waiting: Callable[[int, float], None] | None = None) -> Iterator[None]:
        """Hold a place for the length of the block; arguments as for `take`."""
        ticket = self.take(who, waiting)
        try:
            yield
        finally:
            self.give_back(ticket)

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a place."""
        with self._lock:
            return len(self._waiting)

    @property
    def running(self) -> int:
        """Number of requests that hold a place."""
        with self._lock:
            return self._places - self._free

    @property
    def busy(self) -> bool:
        """Return whether a request holds a place or waits for one."""
        with self._lock:
            return self._free < self._places or bool(self._waiting)

    def _before(self, ticket: Ticket) -> int:
        with self._lock:
            return self._places - self._free + sum(o.order < ticket.order for o in self._waiting)

    def _enter(self, who: str) -> Ticket:
        with self._lock:
            if not self._waiting and self._free == self._places:
                self._last.clear()
            round_ = max(self._round, self._last.get(who, -1) + 1)
            self._last[who] = round_
            self._count += 1
            ticket = Ticket(who, round_, self._count)
            self._waiting.append(ticket)
            self._grant()
            return ticket

    def _grant(self) -> None:
        """Give free places to the requests that are next; the lock is held."""
        while self._free and self._waiting:
            ticket = min(self._waiting, key=lambda one: one.order)
            self._waiting.remove(ticket)
            self._free -= 1
            self._round = max(self._round, ticket.round)
            ticket.granted.set()
