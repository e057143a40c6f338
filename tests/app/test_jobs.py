"""Work in the background: shared, reported on, cancelled, limited in number, and kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from attnviz.errors import InputError
from attnviz.findings import Progress
from attnviz.ui.jobs.background_jobs import PATIENCE, Job, Jobs


class Slow:
    """Work that goes on until it is let go."""

    def __init__(self) -> None:
        self.runs = 0
        self.ended = threading.Event()
        self.finish = threading.Event()

    def __call__(self, progress: Callable[[Progress], None]) -> str:
        self.runs += 1
        self.ended.clear()
        try:
            while not self.finish.wait(0.01):
                progress(Progress("working", 0.5, 1.0))
        finally:
            self.ended.set()
        return "found"


@pytest.fixture
def slow() -> Iterator[Slow]:
    work = Slow()
    yield work
    work.finish.set()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_runs_reports_and_keeps_what_it_found(slow: Slow) -> None:
    jobs: Jobs[str] = Jobs(1)
    assert jobs.find("key") is None
    job = jobs.start("key", slow, "anna")
    until(lambda: job.progress is not None)
    assert job.status == "running" and job.awaited_by("anna") and not job.over
    assert job.progress is not None and job.progress.stage == "working"
    slow.finish.set()
    until(lambda: job.over)
    listed_job = jobs.find("key")
    assert listed_job is not None and (listed_job.status, listed_job.value) == ("done", "found")
    assert jobs.start("key", slow, "bert").value == "found"
    assert slow.runs == 1


def test_two_who_ask_for_the_same_share_it(slow: Slow) -> None:
    jobs: Jobs[str] = Jobs(2)
    job = jobs.start("key", slow, "anna")
    assert jobs.start("key", slow, "bert") is job
    job.leave("anna")
    time.sleep(0.1)
    assert not slow.ended.is_set() and job.awaited_by("bert") and not job.awaited_by("anna")
    job.leave("bert")
    assert slow.ended.wait(20)
    until(lambda: job.status == "cancelled")
    assert jobs.find("key") is None and slow.runs == 1


def test_what_was_cancelled_begins_anew(slow: Slow) -> None:
    jobs: Jobs[str] = Jobs(1)
    first = jobs.start("key", slow, "anna")
    until(lambda: first.status == "running")
    first.leave("anna")
    until(lambda: first.over)
    second = jobs.start("key", slow, "anna")
    assert second is not first
    slow.finish.set()
    until(lambda: second.status == "done")


def test_a_job_that_is_given_up_takes_nobody_in(slow: Slow) -> None:
    job: Job[str] = Job(lambda who: False, time.monotonic)
    assert not job.wanted()
    job.look("late")
    assert not job.wanted()


def test_who_asks_for_something_else_leaves_the_first(slow: Slow) -> None:
    jobs: Jobs[str] = Jobs(2)
    first = jobs.start("one", slow, "anna")
    until(lambda: first.status == "running")
    jobs.start("two", lambda progress: "other", "anna")
    until(lambda: first.status == "cancelled")


def test_no_more_run_at_a_time_than_there_is_room_for(slow: Slow) -> None:
    jobs: Jobs[str] = Jobs(1)
    first = jobs.start("one", slow, "anna")
    until(lambda: first.status == "running")
    other = Slow()
    second = jobs.start("two", other, "bert")
    time.sleep(0.1)
    assert second.status == "waiting" and jobs.ahead(second) == 1 and other.runs == 0
    second.leave("bert")
    until(lambda: second.status == "cancelled")  # without ever having run
    third = jobs.start("three", other, "carl")
    slow.finish.set()
    other.finish.set()
    until(lambda: third.status == "done")


def test_a_long_job_lets_short_ones_pass(slow: Slow) -> None:
    jobs: Jobs[str] = Jobs(1, slice_=0.05)
    long = jobs.start("long", slow, "anna")
    until(lambda: long.status == "running")
    for number in range(3):
        short = jobs.start(number, lambda progress: "found", f"visitor {number}")
        until(lambda short=short: short.over)  # type: ignore[misc]
        assert short.value == "found"
    assert not long.over
    until(lambda: long.status == "running")  # it goes on where it was
    slow.finish.set()
    until(lambda: long.over)
    assert long.value == "found" and slow.runs == 1


def test_long_jobs_take_turns() -> None:
    jobs: Jobs[str] = Jobs(1, slice_=0.02)
    steps: list[str] = []
    running, most = [0], [0]

    def work(name: str) -> Callable[[Callable[[Progress], None]], str]:
        def run(progress: Callable[[Progress], None]) -> str:
            for _ in range(30):
                running[0] += 1
                most[0] = max(most[0], running[0])
                time.sleep(0.005)
                steps.append(name)
                running[0] -= 1
                progress(Progress("working", 0.5, 1.0))
            return name

        return run

    started = [jobs.start(name, work(name), name) for name in "abc"]
    until(lambda: all(job.over for job in started))
    assert [job.value for job in started] == ["a", "b", "c"] and most[0] == 1
    halves = [set(steps[:45]), set(steps[45:])]
    assert halves[0] == {"a", "b", "c"} and len(halves[1]) > 1


def test_a_paused_job_can_be_cancelled(slow: Slow) -> None:
    jobs: Jobs[str] = Jobs(1, slice_=0.02)
    first = jobs.start("first", slow, "anna")
    until(lambda: first.status == "running")
    other = Slow()
    second = jobs.start("second", other, "bert")
    until(lambda: first.status == "waiting" and first.progress is not None)
    first.leave("anna")
    until(lambda: first.status == "cancelled")
    other.finish.set()
    until(lambda: second.value == "found")


def test_whoever_has_left_is_not_waited_for(slow: Slow) -> None:
    now, here = [0.0], {"anna"}
    jobs: Jobs[str] = Jobs(1, connected=here.__contains__, clock=lambda: now[0])
    job = jobs.start("key", slow, "anna")
    until(lambda: job.progress is not None)
    now[0] = PATIENCE * 3  # has not looked, but has a page open: perhaps another one
    time.sleep(0.1)
    assert not job.over
    here.clear()
    until(lambda: job.status == "cancelled")
    assert slow.ended.is_set()


def test_refusals_and_faults_are_kept_until_they_are_seen() -> None:
    def refuse(progress: Callable[[Progress], None]) -> str:
        raise InputError("no such text")

    def fail(progress: Callable[[Progress], None]) -> str:
        raise ZeroDivisionError

    jobs: Jobs[str] = Jobs(1)
    refused, failed = jobs.start("a", refuse, "anna"), jobs.start("b", fail, "bert")
    until(lambda: refused.over and failed.over)
    assert isinstance(refused.error, InputError) and refused.error.__traceback__ is None
    assert isinstance(failed.error, ZeroDivisionError)
    jobs.forget("b")
    assert jobs.find("b") is None
    again = jobs.start("a", lambda progress: "found", "anna")
    until(lambda: again.status == "done")


def test_the_oldest_results_make_room() -> None:
    jobs: Jobs[np.ndarray] = Jobs(1, limit=2500)
    for number in range(4):
        job = jobs.start(number, lambda progress: np.zeros(125), "anna")  # 1,000 bytes
        until(lambda job=job: job.over)  # type: ignore[misc]
    until(lambda: jobs.find(1) is None)
    assert jobs.find(0) is None
    assert jobs.find(2) is not None and jobs.find(3) is not None
