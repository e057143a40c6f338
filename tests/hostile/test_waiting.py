"""Work that ends in a panic: those who wait for it get an answer, and the next request runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from attnviz.errors import AttnvizError, InputError
from attnviz.findings import Progress
from attnviz.models import tokenizing
from attnviz.ui.jobs.background_jobs import Job, Jobs
from attnviz.ui.session.capture_cache import Shelf


class PanicException(BaseException):
    """Panic in Rust code as it arrives in Python: not an Exception."""


def ended(job: Job[str]) -> Job[str]:
    until = time.monotonic() + 20
    while not job.over:
        assert time.monotonic() < until
        time.sleep(0.01)
    return job


@pytest.mark.parametrize("error", [PanicException("retry limit"), SystemExit(3), MemoryError()])
def test_a_job_whose_work_ends_in_a_panic(error: BaseException) -> None:
    jobs: Jobs[str] = Jobs(1)

    def panic(report: Callable[[Progress], None]) -> str:
        raise error

    job = ended(jobs.start("key", panic, "first"))
    assert job.status == "failed"
    assert isinstance(job.error, Exception)
    assert ended(jobs.start("key", lambda report: "value", "second")).value == "value"


def test_a_job_of_a_tokenizer_that_panics() -> None:
    """The job's error is a sentence, and holds neither the text nor the frames that held it."""

    def panic(report: Callable[[Progress], None]) -> str:
        with tokenizing("mine"):
            raise PanicException("retry-limit-in-match over")

    job = ended(Jobs[str](1).start("key", panic, "visitor"))
    assert isinstance(job.error, InputError)
    assert "tokenizer of mine failed on this text" in str(job.error)
    assert job.error.__cause__ is job.error.__context__ is None


def test_those_who_wait_for_a_capture_that_panics() -> None:
    shelf: Shelf[str] = Shelf(1 << 20)
    started = threading.Event()
    got: list[object] = []

    def panic() -> str:
        started.set()
        time.sleep(0.2)
        with tokenizing("mine"):
            raise PanicException

    def first() -> None:
        try:
            shelf.get("key", panic)
        except AttnvizError as error:
            got.append(error)

    def second() -> None:
        started.wait()
        got.append(shelf.get("key", lambda: "value"))

    threads = [threading.Thread(target=one) for one in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive()
    assert isinstance(got[0], InputError)
    assert got[1] == "value"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_other_ends_of_a_program_pass(error: BaseException) -> None:
    with pytest.raises(type(error)), tokenizing("mine"):
        raise error
