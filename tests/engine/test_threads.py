"""Simultaneous captures with one model do not mix."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from attnviz import Capture, Model, capture
from attnviz.captures.forward_pass import capture_ids
from tests.zoo import Pair, random_texts

THREADS, ROUNDS = 16, 3


def numbers(one: Capture) -> list[np.ndarray]:
    """Return all arrays of a capture, without arithmetic that could hide a difference."""
    arrays = [one.losses]
    for stack in one.stacks.values():
        for layer in stack.layers:
            kept = layer.vectors
            assert kept is not None
            arrays += [part.numpy() for part in (kept.query, kept.key, kept.value)]
            arrays += list(vars(layer.rows).values())
        arrays.append(stack.weights(0, 1))
    return arrays


@pytest.mark.parametrize("name", ["gpt2", "bert", "t5", "albert"])
def test_parallel_captures_equal_serial_ones(zoo: Callable[[str], Pair], name: str) -> None:
    model = zoo(name).model
    texts = [random_texts(model, (5 + 2 * number,), seed=number) for number in range(THREADS)]
    serial = [numbers(capture_ids(model, text)[0]) for text in texts]
    start = threading.Barrier(THREADS)

    def work(number: int) -> list[list[np.ndarray]]:
        start.wait()
        return [numbers(capture_ids(model, texts[number])[0]) for _ in range(ROUNDS)]

    with ThreadPoolExecutor(THREADS) as pool:
        for number, rounds in enumerate(pool.map(work, range(THREADS))):
            for parallel in rounds:
                for mine, expected in zip(parallel, serial[number], strict=True):
                    np.testing.assert_array_equal(mine, expected)


def test_cutting_one_text_does_not_cut_others(bert: Model) -> None:
    """A tokenizer stores its last truncation, and threads share it."""
    limit = bert.info.max_tokens
    assert limit is not None
    long, short = "cat " * (3 * limit), "mat " * (limit - 20)
    expected = len(capture(bert, short, keep="statistics")["self"].query_tokens)
    start = threading.Barrier(8)

    def work(number: int) -> list[int]:
        start.wait()
        text, cut = (long, True) if number % 2 else (short, False)
        return [
            len(capture(bert, text, cut=cut, keep="statistics", predict=False)["self"].query_tokens)
            for _ in range(10)
        ]

    with ThreadPoolExecutor(8) as pool:
        lengths = list(pool.map(work, range(8)))
    assert lengths == [[limit if number % 2 else expected] * 10 for number in range(8)]


def test_targets_written_in_parallel_equal_those_written_alone(t5: Model) -> None:
    texts = [
        f"The cat sat on the {word}." for word in ("mat", "hat", "dog", "roads", "man", "Mary")
    ]
    alone = [capture(t5, text) for text in texts]
    with ThreadPoolExecutor(len(texts)) as pool:
        together = list(pool.map(lambda text: capture(t5, text), texts))
    assert len({one.target_text for one in alone}) > 1
    for one, other in zip(alone, together, strict=True):
        assert one.target_text == other.target_text
        for mine, expected in zip(numbers(other), numbers(one), strict=True):
            np.testing.assert_array_equal(mine, expected)
