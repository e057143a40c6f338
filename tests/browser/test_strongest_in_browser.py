"""View *Other texts* in a browser: a search is cancelled, begun again, and a place is opened."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.steps import Server, open_app, start_and_cancel, wait_until_idle

SENTENCE = "The king and his old dog went home, and the king saw the dog and the red bird. "
MANY = "\n".join(f"Story {number}. {SENTENCE * 6}" for number in range(400))
FEW = (
    "The red dog saw the blue bird. The red dog ran.\n"
    "Anna gave the ball to Ben. Then Ben gave the ball to Clara.\n"
    "<img src=x onerror=alert(1)> and <img src=x onerror=alert(1)>\n"
)


def open_view(page: Page, server: Server) -> None:
    open_app(page, server, "?model=gpt-classroom&layer=1&head=3")
    page.get_by_role("radio", name="Other texts").click()
    page.get_by_role("radio", name="Typed here").click()
    wait_until_idle(page)


def give(page: Page, texts: str) -> None:
    area = page.get_by_role("textbox", name="A text on each line")
    area.fill(texts)
    area.press("Control+Enter")
    wait_until_idle(page)


def test_a_search_is_cancelled_and_a_place_is_opened(page: Page, server: Server) -> None:
    open_view(page, server)
    give(page, MANY)
    start = page.get_by_role("button", name="Search texts").locator("visible=true").first
    start_and_cancel(page, start, "Reading the texts")
    expect(page.locator(".attnviz-excerpt")).to_have_count(0)
    give(page, FEW)
    start.click()
    expect(page.locator(".attnviz-excerpt")).to_have_count(3)
    wait_until_idle(page)
    assert page.locator(".attnviz-excerpt img").count() == 0
    expect(page.get_by_text("Induction of L1·H3 reaches").first).to_be_visible()
    first = page.locator(".attnviz-plain", has_text=re.compile(r"^1\. ")).inner_text()
    number = int(first.split("text ")[1].split()[0])
    query = first.split("“")[1].split("”")[0]
    page.get_by_role("button", name=f"Open text {number}").locator("visible=true").first.click()
    expect(page.get_by_label("Text", exact=True)).to_have_value(FEW.splitlines()[number - 1])
    expect(page.locator(".st-key-weights .map[data-painted]")).to_be_visible()
    wait_until_idle(page)
    expect(page.locator(".attnviz-plain", has_text=f"“{query}” looks at").first).to_be_visible()
    assert "layer=1&head=3" in page.url
    assert not re.search("dog|Anna|img", page.url)
    # The result is kept for the next place.
    page.get_by_role("radio", name="Other texts").click()
    expect(page.locator(".attnviz-excerpt")).to_have_count(3)
    assert page.locator(".stException").count() == 0


@pytest.mark.parametrize("width", [390, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_place_is_wider_than_the_screen(
    page: Page, server: Server, width: int, scheme: str
) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    open_view(page, server)
    page.set_viewport_size({"width": width, "height": 900})
    long = "x" * 300  # the numbers: equal texts would have the result of the run before
    give(page, f"{FEW}{long} {width} {scheme} {long}\n")
    page.get_by_role("button", name="Search texts").locator("visible=true").first.click()
    expect(page.locator(".attnviz-excerpt")).to_have_count(4)
    wait_until_idle(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for box in page.locator(".attnviz-excerpt .token").all()[:60]:
        edges = box.bounding_box()
        assert edges is not None and edges["x"] + edges["width"] <= width
    marked = page.locator(".attnviz-excerpt .token", has=page.locator("small"))
    assert {*marked.locator("small").all_inner_texts()} <= {"query", "key", "query and key"}
    assert marked.count() >= 8
