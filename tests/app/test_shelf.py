"""Cache of captures: bounded by memory, made once, errors not kept."""

from __future__ import annotations

import contextlib
import threading
import time

import numpy as np
import pytest

import attnviz
from attnviz import Model
from attnviz.ui.session.capture_cache import Shelf, size


def test_the_oldest_leave_when_the_bytes_are_used_up() -> None:
    shelf: Shelf[np.ndarray] = Shelf(3000)
    for name in "abc":
        shelf.get(name, lambda: np.zeros(1000, np.uint8))
    shelf.get("a", lambda: np.ones(1, np.uint8))  # is there, and is now the newest
    shelf.get("d", lambda: np.zeros(1000, np.uint8))
    assert shelf.bytes == 3000
    assert shelf.get("a", lambda: np.ones(1, np.uint8)).size == 1000
    assert shelf.get("b", lambda: np.ones(1, np.uint8)).size == 1


def test_one_that_is_larger_than_the_shelf_still_stands() -> None:
    shelf: Shelf[np.ndarray] = Shelf(10)
    shelf.get("a", lambda: np.zeros(5, np.uint8))
    large = shelf.get("large", lambda: np.zeros(1000, np.uint8))
    assert shelf.get("large", lambda: np.zeros(1, np.uint8)) is large
    assert len(shelf) == 1


def test_many_small_ones_are_bounded_too() -> None:
    shelf: Shelf[int] = Shelf(10, entries=4)
    for number in range(9):
        shelf.get(number, lambda number=number: number)
    assert len(shelf) == 4


def test_a_class_that_asks_at_once_waits_for_one_making() -> None:
    shelf: Shelf[int] = Shelf(10)
    calls = []

    def make() -> int:
        time.sleep(0.05)
        calls.append(1)
        return 7

    threads = [threading.Thread(target=shelf.get, args=("a", make)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_an_error_is_passed_on_and_not_kept() -> None:
    shelf: Shelf[int] = Shelf(10)

    def refuse() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        shelf.get("a", refuse)
    assert shelf.get("a", lambda: 3) == 3


def test_the_keys_of_refused_values_are_not_kept() -> None:
    shelf: Shelf[int] = Shelf(10)
    started = threading.Barrier(4)

    def refuse() -> int:
        time.sleep(0.01)
        raise ValueError("no")

    def ask() -> None:
        started.wait()
        for number in range(20):
            with contextlib.suppress(ValueError):
                shelf.get(f"secret {number}", refuse)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "secret" not in repr(vars(shelf))
    assert shelf.get("secret 1", lambda: 3) == 3
    assert vars(shelf)["_making"] == {}


def test_one_value_is_made_at_a_time_when_the_first_try_fails() -> None:
    shelf: Shelf[int] = Shelf(10)
    running, most = [], []

    def make() -> int:
        running.append(1)
        most.append(len(running))
        time.sleep(0.02)
        running.pop()
        if len(most) < 4:
            raise ValueError("not yet")
        return 7

    def ask() -> None:
        with contextlib.suppress(ValueError):
            shelf.get("key", make)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 4 and max(most) == 1


def test_the_size_of_a_capture_is_that_of_its_tensors(gpt: Model) -> None:
    text = "The cat sat on the mat. " * 4
    short, long = (attnviz.capture(gpt, text * times) for times in (1, 3))
    stack = long["self"]
    vectors = sum(
        tensor.numel() * tensor.element_size()
        for layer in stack.layers
        if layer.vectors is not None
        for tensor in (layer.vectors.query, layer.vectors.key, layer.vectors.value)
    )
    assert vectors < size(long) < 3 * vectors
    assert size(long) > 2 * size(short)
