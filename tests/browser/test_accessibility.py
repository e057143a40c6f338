"""Pages by the rules of axe-core (WCAG 2 and good practice), in both themes: no violation."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from attnviz.ui.entry.page_table import PAGES
from tests.browser.steps import Server, wait_until_idle

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ACTIONS = {
    "": ("What flows", "Queries and keys", "Pictures"),
    "laboratory": ("What it costs", "All variants"),
    "generate": ("One token",),
    "edit": ("Add this edit",),
    "patch?model=bert-classroom": ("Patch every head",),
}
"""Names of buttons of a page that show more of it, by its address."""

LESSONS = ("context", "heads", "induction", "masks", "positions", "softmax")
"""Lessons with a picture of each sort."""

PLACES = [
    "",
    *(one.name for one in PAGES[1:]),
    "patch?model=bert-classroom",  # other tests patch the GPT, and would find the result
    *(f"lessons?lesson={name}&values=shown:1" for name in LESSONS),
]


def violations(page: Page) -> list[str]:
    """Return each broken rule with the element that breaks it: all in light, contrast in dark."""
    broken = []
    for theme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=theme)
        wait_until_idle(page)
        results = Axe().run(page, options={"resultTypes": ["violations"], **rules}).response
        broken += [
            f"{theme}: {rule['help']}: {node['html'][:200]}"
            for rule in results["violations"]
            for node in rule["nodes"]
        ]
    return broken


@pytest.mark.parametrize("address", PLACES)
def test_a_page_breaks_no_rule(page: Page, server: Server, address: str) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(f"{server[0]}/{address}")
    wait_until_idle(page)
    broken = violations(page)
    for name in ACTIONS.get(address, ()):
        page.emulate_media(color_scheme="light")
        button = page.get_by_role("button", name=name, exact=True)
        button.or_(page.get_by_role("radio", name=name, exact=True)).locator(
            "visible=true"
        ).first.click()
        wait_until_idle(page)
        broken += violations(page)
    assert broken == []
