"""Fixtures: a real server and a real browser, both on this machine alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser_tabs import Tab, Watch
from tests.served import served

expect.set_options(timeout=60_000)  # a busy machine is not a fault of the app


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


def app(port: str) -> list[str]:
    """Return the arguments of the app as `make app` serves it."""
    return ["attnviz", "app", "--headless", "--port", port, "--address", "127.0.0.1"]


@contextmanager
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Serve the app; yield its address, and the file with everything it logs."""
    log = tmp_path_factory.mktemp("server") / "log"
    with served(app, log) as address:
        yield address, log


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Serve the app once for all tests that do not need a fresh server."""
    with serve(tmp_path_factory) as server:
        yield server


@pytest.fixture
def visitor(chromium: Browser) -> Iterator[BrowserContext]:
    """Yield a fresh browser context: no cookies, and no other machine to reach."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(60_000)
    yield context
    context.close()


@pytest.fixture(scope="module")
def tab(chromium: Browser) -> Iterator[Tab]:
    """Yield the tab that the tests of a file use one after another."""
    tab = Tab(chromium)
    yield tab
    tab.close()


@pytest.fixture
def page(tab: Tab) -> Iterator[Page]:
    """Yield an empty page, checked at the end for errors, dialogs and foreign requests."""
    opened = tab.open()
    watch = Watch(opened)
    try:
        yield opened
        watch.check()
    finally:
        watch.end()
        tab.clear()


@pytest.fixture
def cold_page(visitor: BrowserContext) -> Iterator[Page]:
    """Yield a page of a browser that has read nothing of the app, checked as `page` is."""
    opened = visitor.new_page()
    watch = Watch(opened)
    yield opened
    watch.check()
