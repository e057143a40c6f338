"""Queue of script runs: fair, and left by requests that end while waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnviz.ui.server.turns import Ticket, Turns
from tests.app.conftest import until


class Crowd:
    """Requests in threads that hold a place until they are let go; notes the order of service."""

    def __init__(self, places: int = 1) -> None:
        self.turns = Turns(places)
        self.served: list[str] = []
        self.go: dict[str, threading.Event] = {}
        self.threads: list[threading.Thread] = []

    def ask(self, who: str, name: str) -> None:
        """Start a request, and return once it holds a place or is in the queue."""
        go = self.go[name] = threading.Event()
        known = self.turns._count

        def run() -> None:
            with self.turns.turn(who):
                self.served.append(name)
                assert go.wait(10)

        thread = threading.Thread(target=run, daemon=True)
        self.threads.append(thread)
        thread.start()
        until(lambda: self.turns._count > known)

    def serve_all(self) -> list[str]:
        """Let requests go in the order in which they are served."""
        for number in range(len(self.threads)):
            until(lambda: len(self.served) > number)  # noqa: B023 - used before the next number
            self.go[self.served[number]].set()
        for thread in self.threads:
            thread.join(10)
        assert not self.turns.busy
        return self.served


def test_no_second_request_runs_before_a_first() -> None:
    crowd = Crowd()
    for who, name in (("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("b", "b2"), ("c", "c1")):
        crowd.ask(who, name)
    assert crowd.serve_all() == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_equal_rounds_are_served_as_they_came() -> None:
    crowd = Crowd()
    for name in "dbca":
        crowd.ask(name, name)
    assert crowd.serve_all() == list("dbca")


def test_a_newcomer_does_not_wait_for_a_long_list() -> None:
    crowd = Crowd()
    for number in range(6):
        crowd.ask("greedy", f"g{number}")
    until(lambda: crowd.served == ["g0"])
    crowd.go["g0"].set()
    until(lambda: len(crowd.served) == 2)
    crowd.ask("new", "n")
    assert crowd.serve_all() == ["g0", "g1", "n", "g2", "g3", "g4", "g5"]


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12))
def test_requests_at_once_are_served_by_rounds(who: list[str]) -> None:
    turns = Turns(1)
    blocker = turns.take("z")
    tickets: list[tuple[int, Ticket]] = []
    seen: dict[str, int] = {}
    for one in who:
        tickets.append((seen.get(one, 0), turns._enter(one)))
        seen[one] = seen.get(one, 0) + 1
    turns.give_back(blocker)
    rounds = []
    for _ in who:
        (current,) = [number for number, ticket in tickets if ticket.granted.is_set()]
        rounds.append(current)
        (done,) = [entry for entry in tickets if entry[1].granted.is_set()]
        tickets.remove(done)
        turns.give_back(done[1])
    assert rounds == sorted(rounds)
    assert not turns.busy


def test_places_are_taken_at_the_same_time_and_no_more() -> None:
    crowd = Crowd(places=3)
    for name in "abcde":
        crowd.ask(name, name)
    until(lambda: len(crowd.served) == 3)
    assert (crowd.turns.running, crowd.turns.waiting) == (3, 2)
    time.sleep(0.05)
    assert len(crowd.served) == 3
    crowd.serve_all()


def test_the_number_of_requests_before_counts_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnviz.ui.server.turns.STEP", 0.01)
    crowd = Crowd()
    for name in "ab":
        crowd.ask(name, name)
    counts: list[int] = []

    def last() -> None:
        with crowd.turns.turn("c", lambda before, seconds: counts.append(before)):
            crowd.served.append("c")

    thread = threading.Thread(target=last, daemon=True)
    thread.start()
    until(lambda: counts[-1:] == [2])
    crowd.go["a"].set()
    until(lambda: counts[-1:] == [1])
    crowd.go["b"].set()
    thread.join(10)
    assert crowd.served == ["a", "b", "c"]


@pytest.mark.parametrize("when", ["waiting", "running"])
def test_a_request_that_fails_frees_its_place(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnviz.ui.server.turns.STEP", 0.01)
    turns = Turns(1)
    holder = turns.take("a") if when == "waiting" else None

    def fail(*_: object) -> None:
        raise RuntimeError(when)

    with pytest.raises(RuntimeError, match=when), turns.turn("b", fail):
        fail()
    assert turns.waiting == 0
    if holder is not None:
        turns.give_back(holder)
    assert not turns.busy


def test_many_threads_lose_no_place() -> None:
    turns, done = Turns(2), []

    def many(who: str) -> None:
        for _ in range(50):
            with turns.turn(who):
                done.append(who)

    work: list[Callable[[], None]] = [lambda who=str(n % 4): many(who) for n in range(8)]  # type: ignore[misc]
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(done) == 400
    assert not turns.busy
