"""Preparation beside the server: pages wait for it, and it waits for the server."""

from __future__ import annotations

import socket
import threading

import pytest

from attnviz.ui.server import warm_up

PATIENCE = 30


@pytest.fixture
def listener() -> socket.socket:
    """Return a socket that does not listen yet."""
    unheard = socket.socket()
    unheard.bind(("127.0.0.1", 0))
    return unheard


def test_pages_wait_for_the_preparation_and_it_waits_for_the_server(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    begun, release, passed = threading.Event(), threading.Event(), threading.Event()

    def prepare() -> None:
        begun.set()
        assert release.wait(PATIENCE)

    monkeypatch.setattr(warm_up, "prepare", prepare)
    warm_up.start("127.0.0.1", listener.getsockname()[1])
    page = threading.Thread(target=lambda: (warm_up.wait(), passed.set()), daemon=True)
    page.start()
    assert not begun.wait(0.3)  # nothing listens
    with listener:
        listener.listen()
        assert begun.wait(PATIENCE)
        assert not passed.is_set()
        release.set()
        assert passed.wait(PATIENCE)
        page.join(PATIENCE)


def test_a_page_does_not_wait_where_nothing_is_prepared() -> None:
    warm_up.wait()


def test_a_failed_preparation_lets_the_pages_run(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    def fail() -> None:
        raise OSError("no file of the model can be read")

    reported = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda error: reported.set())
    monkeypatch.setattr(warm_up, "prepare", fail)
    with listener:
        listener.listen()
        warm_up.start("127.0.0.1", listener.getsockname()[1])
        warm_up.wait()  # the page meets the same error, and shows it
        assert reported.wait(PATIENCE)
