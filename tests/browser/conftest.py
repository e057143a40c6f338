"""Fixtures: a real server and a real browser, both on this machine alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

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


class Watch:
    """Errors, dialogs and foreign requests of a page."""

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self.dialogs: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", self._dialog)
        page.on("request", self._request)

    def _dialog(self, dialog: object) -> None:
        self.dialogs.append(str(dialog))
        dialog.dismiss()  # type: ignore[attr-defined]

    def _request(self, request: object) -> None:
        url: str = request.url  # type: ignore[attr-defined]
        if not url.startswith(("http://127.0.0.1", "data:", "blob:", "ws://127.0.0.1")):
            self.strangers.append(url)

    def check(self) -> None:
        """Check that no error, no dialog and no foreign request has come."""
        assert not self.errors
        assert not self.dialogs
        assert not self.strangers


@pytest.fixture
def page(visitor: BrowserContext) -> Iterator[Page]:
    """Yield a page that is checked at the end for errors, dialogs and foreign requests."""
    opened = visitor.new_page()
    watch = Watch(opened)
    yield opened
    watch.check()
