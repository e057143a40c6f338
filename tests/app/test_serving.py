"""Places of script runs: the message while waiting, and no place lost when a run ends early."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from attnviz.ui.server import run_places
from attnviz.ui.server.run_places import LONG, SHORT
from attnviz.ui.server.turns import Ticket
from tests.app.conftest import until


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Ticket]]:
    """Take all short places, and let messages come at once."""
    monkeypatch.setattr(run_places, "MOMENT", 0.0)
    monkeypatch.setattr("attnviz.ui.server.turns.STEP", 0.02)
    tickets = [SHORT.take(f"other {number}") for number in range(run_places.PROCESSORS)]
    yield tickets
    for ticket in tickets:
        SHORT.give_back(ticket)


def waiting_page() -> None:
    import streamlit as st

    from attnviz.ui.server.run_places import turn

    with turn():
        st.write("served")


def fragment_in_a_page(whole: bool, aside: bool) -> None:
    from contextlib import nullcontext

    import streamlit as st

    from attnviz.ui.server import run_places

    @run_places.in_turn
    def fragment() -> None:
        with run_places.aside(run_places.LONG, "waits") if aside else nullcontext():
            st.write("read")
        st.write("shown")

    with run_places.turn() if whole else nullcontext(), st.container(key="fragment"):
        fragment()


def test_a_fragment_has_the_same_elements_by_itself_and_after_a_long_pass() -> None:
    """An element more would move all that follow, and the browser would draw them anew."""
    shapes = set()
    for whole in (True, False):
        for long in (True, False):
            app = AppTest.from_function(fragment_in_a_page, args=(whole, long), default_timeout=30)
            app.run()
            assert not app.exception
            (block,) = [
                one
                for one in app.main.children.values()
                if getattr(one.proto, "id", "").endswith("fragment")
            ]
            places = tuple((at, one.type) for at, one in block.children.items())
            shapes.add(places)
    assert len(shapes) == 1, shapes
    assert [kind for _, kind in shapes.pop()][-2:] == ["markdown", "markdown"]


def test_a_run_that_waits_says_how_many_are_before_and_then_goes_on(full: list[Ticket]) -> None:
    app = AppTest.from_function(waiting_page, default_timeout=30)
    seen: list[str] = []

    def let_go() -> None:
        until(lambda: SHORT.waiting == 1)
        threading.Event().wait(0.3)
        SHORT.give_back(full.pop())

    update = run_places._Message.update

    def noted(self: run_places._Message, before: int, seconds: float) -> None:
        update(self, before, seconds)
        seen.append(f"{before}")

    run_places._Message.update = noted  # type: ignore[method-assign]
    thread = threading.Thread(target=let_go)
    thread.start()
    try:
        app.run()
    finally:
        run_places._Message.update = update  # type: ignore[method-assign]
    thread.join()
    assert seen
    assert set(seen) == {str(run_places.PROCESSORS)}
    assert [one.value for one in app.markdown] == ["served"]
    assert not app.info  # the message has gone
    assert SHORT.running == len(full)


@pytest.mark.parametrize("when", ["update", "clear"])
def test_a_run_that_ends_while_it_waits_loses_no_place(
    full: list[Ticket], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def stop(*_: object) -> None:
        raise RuntimeError("a rerun")

    monkeypatch.setattr(run_places._Message, when, stop)
    if when == "clear":
        SHORT.give_back(full.pop())
    app = AppTest.from_function(waiting_page, default_timeout=30).run()
    assert app.exception
    assert SHORT.waiting == 0
    assert SHORT.running == len(full)


def long_page() -> None:
    import streamlit as st

    from attnviz.ui.server.run_places import LONG, SHORT, aside, turn

    with turn():
        before = (SHORT.running, LONG.running)
        with aside(LONG, "Another long text is being read"):
            during = (SHORT.running, LONG.running)
        st.write(f"{before} {during} {(SHORT.running, LONG.running)}")


def test_long_work_holds_no_short_place() -> None:
    app = AppTest.from_function(long_page, default_timeout=30).run()
    assert app.markdown[0].value == "(1, 0) (0, 1) (1, 0)"
    assert not SHORT.busy
    assert not LONG.busy
