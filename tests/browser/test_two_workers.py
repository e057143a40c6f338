"""Two processes behind nginx, seen by browsers: links, components, downloads, uploads, a kill."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.steps import type_text, wait_until_idle
from tests.browser_tabs import Watch
from tests.served import served

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
MOST_BROWSERS = 8
"""Browsers that come, at most, until two processes have answered."""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="NO NGINX: two processes were NOT tested"),
]


def _two_workers(port: str) -> list[str]:
    return [
        *("attnviz", "app", "--headless", "--workers", "2"),
        *("--port", port, "--address", "127.0.0.1"),
    ]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(_two_workers, tmp_path_factory.mktemp("workers") / "log", patience=300) as server:
        yield server


def _worker(context: BrowserContext) -> str:
    return next(str(one["value"]) for one in context.cookies() if one["name"] == "attnviz_worker")


def _processes(address: str) -> list[int]:
    """Return the ids of the worker processes, in the order of their numbers."""
    commands = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            commands[int(file.parts[2])] = file.read_bytes().decode().split("\0")
    port = address.rpartition(":")[2]
    first = next(one for one, words in commands.items() if "--workers" in words and port in words)
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return sorted(int(one) for one in children if "--port" in commands.get(int(one), ()))


def _head_is_shown(page: Page, label: str) -> None:
    expect(page.get_by_text(label).first).to_be_visible()
    page.wait_for_selector(".st-key-weights .map[data-painted]")


def test_two_browsers_on_two_processes(chromium: Browser, address: str, tmp_path: Path) -> None:
    contexts: dict[str, BrowserContext] = {}
    pages, watches = [], []
    # A process that is too busy to answer is passed over for a second: then another browser comes.
    for _ in range(MOST_BROWSERS):
        context = chromium.new_context(accept_downloads=True)
        context.set_default_timeout(90_000)
        page = context.new_page()
        watch = Watch(page)
        page.goto(f"{address}/?layer=2&head={len(pages) + 3}")  # a link into the app
        _head_is_shown(page, f"L2·H{len(pages) + 3}")
        if _worker(context) in contexts:
            context.close()
            continue
        contexts[_worker(context)] = context
        pages.append(page)
        watches.append(watch)
        if len(contexts) == 2:
            break
    assert len(contexts) == 2
    for page, words in zip(pages, ("the green parrot sings", "a small boat left"), strict=True):
        type_text(page, words)
        page.wait_for_selector(".st-key-weights .map[data-painted]")
    for page, word in zip(pages, ("green", "boat"), strict=True):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=re.compile("CSV")).locator("visible=true").first.click()
        path = tmp_path / f"{word}.csv"
        waiting.value.save_as(path)
        assert word in path.read_text("utf-8")

    file = tmp_path / "texts.txt"
    file.write_text("The old king sat down.\nShe bought three apples.\n", "utf-8")
    page = pages[0]
    page.goto(f"{address}/diagnosis")
    page.get_by_text("A file", exact=False).first.click()
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_text("2 texts")).to_be_visible()
    wait_until_idle(page)

    # The process of the second browser is killed: the page comes back on the other one.
    page = pages[1]
    text = page.get_by_label("Text", exact=True)
    os.kill(_processes(address)[int(list(contexts)[1]) - 1], signal.SIGKILL)
    page.wait_for_selector(".stApp:not([data-test-connection-state=CONNECTED])")
    page.wait_for_selector(".stApp[data-test-connection-state=CONNECTED]", timeout=120_000)
    _head_is_shown(page, "L2·H4")
    expect(text).to_have_value("a small boat left")
    wait_until_idle(page)
    for page, watch in zip(pages, watches, strict=True):
        assert page.locator(".stException").count() == 0
        watch.check()
    for context in contexts.values():
        context.close()
