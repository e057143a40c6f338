"""Navigation: every page has a link beside the side bar on a laptop's screen."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from attnviz.ui.entry.page_table import PAGES
from tests.browser.steps import Server, open_app, wait_until_idle


def test_every_page_has_a_link_at_1280(page: Page, server: Server) -> None:
    open_app(page, server)
    links = page.get_by_test_id("stTopNavLink")
    for one in PAGES:
        # At the end: the name of an icon may hold a page's title ("edit_note").
        title = re.compile(rf"{re.escape(one.title)}$")
        link = links.filter(has_text=title).locator("visible=true")
        expect(link).to_have_count(0 if one.hidden else 1)
    expect(page.get_by_text(re.compile(r"^\d+ more$")).locator("visible=true")).to_have_count(0)


def test_the_lab_and_the_cache_lead_to_their_lessons(page: Page, server: Server) -> None:
    for address, lesson in (("laboratory", "efficient"), ("cache", "cache")):
        page.goto(f"{server[0]}/{address}")
        wait_until_idle(page)
        page.get_by_role("button", name="Lesson: ").locator("visible=true").click()
        expect(page.locator(".lesson")).to_have_attribute("data-lesson", lesson)
        page.wait_for_function(f"location.search.includes('lesson={lesson}')")
