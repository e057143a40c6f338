"""Long work in the background: shared by equal requests, run in slices, cancelled when unneeded.

A job runs in a thread. A few run at the same time; a job that has run for a slice of time while
others wait pauses at its next report until the others have had a slice. A job ends at its next
report when its last visitor has pressed cancel or has closed the page.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, Literal, TypeVar

from attnviz.errors import AttnvizError
from attnviz.findings import Progress
from attnviz.ui.server.turns import Ticket, Turns
from attnviz.ui.session.capture_cache import size

__all__ = ["Job", "Jobs", "Status", "Work"]

Value = TypeVar("Value")
Work = Callable[[Callable[[Progress], None]], Value]
Status = Literal["waiting", "running", "done", "failed", "cancelled"]

PATIENCE = 90.0
"""Seconds after which a session that has not looked, and is not connected, has left."""

SLICE = 10.0
"""Seconds that a job runs before the jobs that wait get a slice."""


class Cancelled(Exception):
    """Cancelled job: no session waits for it."""


class Job(Generic[Value]):
    """Job in the background.

    Attributes:
        status: "waiting" for its turn, "running", "done", "failed" or "cancelled".
        progress: the last report; None before the first.
        value: what came of it, once it is done.
        error: what attnviz refused, or what broke, once it has failed.
    """

    def __init__(self, connected: Callable[[str], bool], clock: Callable[[], float]) -> None:
        self.status: Status = "waiting"
        self.progress: Progress | None = None
        self.value: Value | None = None
        self.error: Exception | None = None
        self._seen: dict[str, float] = {}
        self._given_up = False
        self._lock = threading.Lock()
        self._connected, self._clock = connected, clock

    @property
    def over(self) -> bool:
        """Return whether nothing more will happen."""
        return self.status in ("done", "failed", "cancelled")

    def awaited_by(self, who: str) -> bool:
        """Return whether this session waits for it."""
        with self._lock:
            return who in self._seen

    def look(self, who: str) -> None:
        """Note that a session still waits for it."""
        with self._lock:
            self._seen[who] = self._clock()

    def leave(self, who: str) -> None:
        """Note that a session no longer waits for it; the last one to leave stops it."""
        with self._lock:
            self._seen.pop(who, None)

    def wanted(self) -> bool:
        """Return whether any session waits: it has looked lately, or has a page open.

        Once the answer is no it stays no: the work is being stopped.
        """
        with self._lock:
            now = self._clock()
            for who, seen in list(self._seen.items()):
                if now - seen > PATIENCE and not self._connected(who):
                    del self._seen[who]
            self._given_up = self._given_up or not self._seen
            return not self._given_up

    def report(self, progress: Progress) -> None:
        """Store the progress of the work; the callback of a job.

        Raises:
            Cancelled: no session waits for it.
        """
        if not self.wanted():
            raise Cancelled
        self.progress = progress

    def ended(self, status: Status) -> None:
        """Note that the job has ended."""
        with self._lock:
            self.status = status
            self._seen.clear()


class Jobs(Generic[Value]):
    """Jobs of one sort, by key; results are kept for the next request.

    Args:
        at_a_time: how many run at the same time; the others wait for their turn.
        slice_: seconds that one runs while others wait.
        limit: bytes that finished values may take together; the latest stays in any case.
        entries: how many finished values are kept.
        connected: whether a session, by the name given to `Job.look`, has a page open.
        clock: seconds.
    """

    def __init__(
        self,
        at_a_time: int,
        *,
        limit: int = 256 << 20,
        entries: int = 48,
        slice_: float = SLICE,
        connected: Callable[[str], bool] = lambda who: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._turns = Turns(at_a_time)
        self._slice = slice_
        self._limit, self._entries = limit, entries
        self._connected, self._clock = connected, clock
        self._jobs: OrderedDict[Hashable, Job[Value]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: Hashable) -> Job[Value] | None:
        """Return the job of this key, unless it was cancelled or never started."""
        with self._lock:
            job = self._jobs.get(key)
            if job is None or job.status == "cancelled":
                return None
            self._jobs.move_to_end(key)
            return job

    def start(self, key: Hashable, work: Work[Value], who: str) -> Job[Value]:
        """Ask for a piece of work: begins it, or joins those who wait for the same.

        What has failed or was cancelled begins anew. A session waits for one job at a time:
        it leaves any other.
        """
        with self._lock:
            for other, one in self._jobs.items():
                if other != key:
                    one.leave(who)
            job = self._jobs.get(key)
            if job is not None and job.status in ("waiting", "running", "done"):
                job.look(who)
                if job.status == "done" or job.wanted():
                    return job
            job = Job[Value](self._connected, self._clock)
            job.look(who)
            self._jobs[key] = job
            self._jobs.move_to_end(key)
        thread = threading.Thread(
            target=self._run, args=(job, work, who), name="attnviz-job", daemon=True
        )
        thread.start()
        return job

    def forget(self, key: Hashable) -> None:
        """Let go of what is over: the next who asks begins anew."""
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and job.over:
                del self._jobs[key]

    def clear(self) -> None:
        """Forget all jobs that are over."""
        with self._lock:
            for key in [key for key, job in self._jobs.items() if job.over]:
                del self._jobs[key]

    @property
    def unfinished(self) -> int:
        """Number of jobs that run or wait."""
        with self._lock:
            return sum(not job.over for job in self._jobs.values())

    def ahead(self, job: Job[Value]) -> int:
        """Return the number of jobs that run, or have waited for longer than this one."""
        with self._lock:
            listed = [one for one in self._jobs.values() if not one.over]
        return listed.index(job) if job in listed else 0

    def _run(self, job: Job[Value], work: Work[Value], who: str) -> None:
        place = _Place(self._turns, job, who, self._slice)
        try:
            place.take()
            job.value = work(place.report)
        except Cancelled:
            job.ended("cancelled")
        except AttnvizError as error:
            # These hold the texts.
            error.__traceback__ = error.__context__ = error.__cause__ = None
            job.error = error
            job.ended("failed")
        except BaseException as error:  # a panic in Rust code is no Exception
            job.error = error if isinstance(error, Exception) else RuntimeError(repr(error))
            job.ended("failed")
        else:
            job.ended("done")
        finally:
            place.leave()
            self._tidy()

    def _tidy(self) -> None:
        """Forget what was cancelled, and the oldest of what is done when there is too much."""
        with self._lock:
            for key in [key for key, job in self._jobs.items() if job.status == "cancelled"]:
                del self._jobs[key]
            over = [key for key, job in self._jobs.items() if job.over]
            sizes = {key: size(self._jobs[key].value) for key in over}
            while len(over) > 1 and (
                len(over) > self._entries or sum(sizes[key] for key in over) > self._limit
            ):
                del self._jobs[over.pop(0)]


class _Place:
    """Place of a running job, which it leaves and takes again between two slices.

    Args:
        turns: the queue of all jobs.
        job: holds the place.
        who: the session that has started the job.
        slice_: seconds that the job keeps the place while others wait.
    """

    def __init__(self, turns: Turns, job: Job[Any], who: str, slice_: float) -> None:
        self._turns, self._job, self._who, self._slice = turns, job, who, slice_
        self._ticket: Ticket | None = None
        self._taken = 0.0

    def take(self) -> None:
        """Wait for a place.

        Raises:
            Cancelled: the job is not needed any more.
        """
        self._job.status = "waiting"
        self._ticket = self._turns.take(self._who, self._check)
        self._job.status, self._taken = "running", time.monotonic()

    def leave(self) -> None:
        """Give the place to the next job."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._turns.give_back(ticket)

    def report(self, progress: Progress) -> None:
        """Pass on a report; when the slice is over and others wait, wait for the next one.

        Raises:
            Cancelled: the job is not needed any more.
        """
        self._job.report(progress)
        if self._turns.waiting and time.monotonic() - self._taken > self._slice:
            self.leave()
            self.take()

    def _check(self, before: int, seconds: float) -> None:
        if not self._job.wanted():
            raise Cancelled
