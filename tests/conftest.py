"""Fixtures of all tests: no network, one thread for sums, and small random models."""

from __future__ import annotations

import os

# Before torch and the library are imported: they read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("ATTNVIZ_TEST_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", os.environ["ATTNVIZ_TEST_THREADS"])
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tests.slow_files import SLOW_FILES

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from attnviz import Model
    from tests.zoo import Pair

settings.register_profile(
    "attnviz", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("attnviz")


def with_pages(file: str) -> bool:
    """Return True for a test file that drives a browser."""
    return file.startswith("tests/browser/") or file.endswith("_in_browser.py")


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> Generator[None, int, int]:
    """Run one process more than there are cores: tests with a page mostly wait for it."""
    cores = yield
    return cores if "not browser" in config.option.markexpr else cores + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Side by side, but two pages at a time: a browser and a server have processes of their own."""
    from xdist.scheduler import LoadScopeScheduling

    class TwoPages(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            if with_pages(file):
                return "pages of lessons" if "/test_lesson" in file else "pages"
            return file  # a file at a time: asking for each test is slow

    config.option.loadscopereorder = False  # what takes longest is not what has most tests
    return TwoPages(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of slow files before the marks are selected, and begin with what takes long.

    A long file that begins last would keep one process busy while the others have nothing left.
    """
    for item in items:
        if item.nodeid.split("::")[0] in SLOW_FILES:
            item.add_marker(pytest.mark.slow)

    def turn(item: pytest.Item) -> int:
        file = item.nodeid.split("::")[0]
        return 0 if with_pages(file) else 1 if file in SLOW_FILES else 2

    items.sort(key=turn)


@pytest.fixture(autouse=True)
def threads() -> None:
    """Compute with one thread, or with as many as ATTNVIZ_TEST_THREADS names.

    With one, sums are taken in one order, and equal runs are equal to the last bit.
    """
    import torch

    torch.set_num_threads(int(os.environ["ATTNVIZ_TEST_THREADS"]))


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    """`zoo("gpt2")`: a small random model as attnviz loads it, and as the library itself runs it.

    Each is made once, saved with a small real tokenizer, and loaded twice from there.
    """
    from tests.zoo import make_pair

    pairs: dict[str, Pair] = {}

    def pair(name: str) -> Pair:
        if name not in pairs:
            pairs[name] = make_pair(name, tmp_path_factory.mktemp(name))
        return pairs[name]

    return pair


@pytest.fixture(scope="session")
def gpt(zoo: Callable[[str], Pair]) -> Model:
    """Return a small random GPT-2."""
    return zoo("gpt2").model


@pytest.fixture(scope="session")
def bert(zoo: Callable[[str], Pair]) -> Model:
    """Return a small random BERT."""
    return zoo("bert").model


@pytest.fixture(scope="session")
def t5(zoo: Callable[[str], Pair]) -> Model:
    """Return a small random T5."""
    return zoo("t5").model


@pytest.fixture
def gpt_folder(zoo: Callable[[str], Pair]) -> Path:
    """Return the folder of the small GPT-2; tests must not write into it."""
    return zoo("gpt2").folder


CHROMIUM = Path(os.environ.get("ATTNVIZ_CHROMIUM", "/usr/bin/chromium"))
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, for one module: two at a time cannot share a thread.

    Without it these tests are skipped with a reason, or fail if ATTNVIZ_REQUIRE_BROWSER is set.
    """
    if not CHROMIUM.exists():
        if os.environ.get("ATTNVIZ_REQUIRE_BROWSER"):
            pytest.fail(f"{CHROMIUM} is missing, and ATTNVIZ_REQUIRE_BROWSER asks for it")
        pytest.skip(f"NO BROWSER: {CHROMIUM} is missing, the app was NOT tested in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_FLAGS)
        if os.environ.get("ATTNVIZ_SLOW_PAGES"):
            from tests.slow_pages import slow_down

            slow_down(browser)
        yield browser
        browser.close()
