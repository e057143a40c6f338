"""Class that opens the app all at once, on a server that has just started."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.browser.conftest import serve
from tests.browser_tabs import Watch

STUDENTS = 6
MODELS = ("gpt-classroom", "bert-classroom", "t5-classroom")


def test_first_visitors_come_together(chromium: Browser, tmp_path_factory: object) -> None:
    with serve(tmp_path_factory) as (address, _):  # type: ignore[arg-type]
        context = chromium.new_context()
        context.set_default_timeout(90_000)
        pages = [context.new_page() for _ in range(STUDENTS)]
        watches = [Watch(page) for page in pages]
        for number, page in enumerate(pages):
            model = MODELS[number % len(MODELS)]
            page.goto(f"{address}/?model={model}", wait_until="commit")
        for page, watch in zip(pages, watches, strict=True):
            expect(page.get_by_text("This head").first).to_be_visible()
            assert page.locator(".stException").count() == 0
            watch.check()
        context.close()
