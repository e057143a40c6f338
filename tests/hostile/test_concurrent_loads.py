"""Loads from several threads at once: each succeeds, and torch is left as it was."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
import torch

import attnviz
from attnviz import Model
from attnviz.errors import LoadCancelled
from attnviz.models import instrument, twin
from attnviz.models.loading.build_lock import building
from tests.zoo import Pair

THREADS = 4


def at_once(*tasks: Callable[[], object]) -> list[object]:
    """Run tasks in threads that start at the same moment; return their results or raise."""
    start = threading.Barrier(len(tasks))

    def run(task: Callable[[], object]) -> object:
        start.wait()
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(run, tasks))


def check_torch_untouched(before: dict[str, object]) -> None:
    assert torch.get_default_dtype() == torch.float32
    assert {name: getattr(torch.nn.init, name) for name in before} == before
    assert not torch.empty(2).is_meta


@pytest.fixture
def initialisers() -> dict[str, object]:
    return {name: function for name, function in vars(torch.nn.init).items() if callable(function)}


@pytest.mark.parametrize("name", ["gpt2", "bert", "t5"])
def test_four_threads_load_one_model(
    zoo: Callable[[str], Pair], name: str, initialisers: dict[str, object]
) -> None:
    folder = str(zoo(name).folder)
    for _ in range(3):
        loaded = at_once(*[lambda: attnviz.load(folder)] * THREADS)
        assert len({id(model) for model in loaded}) == THREADS
    check_torch_untouched(initialisers)
    model = attnviz.load(folder)
    assert attnviz.verify(attnviz.capture(model, "The cat sat.")).holds


def test_everything_that_builds_a_model_at_once(
    zoo: Callable[[str], Pair], initialisers: dict[str, object]
) -> None:
    """Loads of three models, an instrumented model, copies for hooks, and proofs."""
    pair, other = zoo("gpt2"), zoo("bert")
    capture = attnviz.capture(other.model, "The cat sat on the mat.")

    def proved() -> None:
        assert attnviz.verify(capture).holds

    for _ in range(3):
        at_once(
            lambda: attnviz.load(str(pair.folder)),
            lambda: attnviz.load(str(other.folder)),
            lambda: attnviz.load("gpt-classroom"),
            lambda: instrument(twin(pair.model.network), pair.model.vocabulary),
            lambda: twin(other.model.network),
            proved,
        )
    check_torch_untouched(initialisers)


def test_a_load_that_waits_for_another_can_be_cancelled(gpt: Model) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool, building():
        waiting = pool.submit(
            lambda: attnviz.load("gpt-classroom", wanted=lambda: time.monotonic() - began < 0.5)
        )
        with pytest.raises(LoadCancelled, match="load the model again"):
            waiting.result(timeout=30)
    assert attnviz.load("gpt-classroom", wanted=lambda: True).info.name == "gpt-classroom"


def test_a_refused_load_releases_the_lock(gpt_folder: object) -> None:
    with pytest.raises(LoadCancelled):
        attnviz.load(str(gpt_folder), wanted=lambda: False)
    (loaded,) = at_once(lambda: attnviz.load(str(gpt_folder)))
    assert isinstance(loaded, Model)


def test_captures_while_a_model_in_another_precision_is_built(zoo: Callable[[str], Pair]) -> None:
    """The library changes torch's default dtype for the whole process during a build."""
    models = [zoo(name).model for name in ("gpt2", "bert", "gemma2")]
    folder = str(zoo("bert").folder)
    text = "The cat sat on the mat."
    expected = [attnviz.summarize(attnviz.capture(model, text)) for model in models]
    done = threading.Event()

    def load() -> None:
        try:
            for _ in range(12):
                attnviz.load(folder, dtype="bfloat16")
        finally:
            done.set()

    def capture() -> None:
        while not done.is_set():
            for model, table in zip(models, expected, strict=True):
                capture = attnviz.capture(model, text)
                pd.testing.assert_frame_equal(attnviz.summarize(capture), table)
                assert attnviz.verify(capture).holds

    at_once(load, capture, capture)
    assert torch.get_default_dtype() == torch.float32


def test_a_default_precision_of_sixteen_bits_changes_no_number(
    zoo: Callable[[str], Pair],
) -> None:
    """What every moment of a build in sixteen bits is like for the captures beside it."""
    text = "The cat sat on the mat."
    for name in ("gpt2", "bert", "t5", "gemma2", "mistral"):
        model = zoo(name).model
        target = "The dog." if name == "t5" else None
        expected = attnviz.summarize(attnviz.capture(model, text, target=target))
        torch.set_default_dtype(torch.bfloat16)
        try:
            capture = attnviz.capture(model, text, target=target)
            held = attnviz.verify(capture).holds
            table = attnviz.summarize(capture)
        finally:
            torch.set_default_dtype(torch.float32)
        assert held
        pd.testing.assert_frame_equal(table, expected)
