"""Pages on a phone, a laptop and a wide screen."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from attnviz.ui.entry.page_table import PAGES
from tests.browser.steps import Server, choose, wait_until_idle

pytestmark = pytest.mark.browser

# Pixels by which the page, or the part of it that scrolls, is wider than what is seen of it.
TOO_WIDE = """() => [document.scrollingElement, document.querySelector("[data-testid=stMain]")]
  .map((one) => one.scrollWidth - one.clientWidth)"""
# Right edges of what is drawn, without what a scrolling box inside the page holds.
OUTSIDE = """() => {
  const clipped = (one) => {
    for (let at = one.parentElement; at && at.dataset.testid !== "stMain"; at = at.parentElement) {
      if (getComputedStyle(at).overflowX !== "visible") return true;
    }
    return false;
  };
  return [...document.querySelectorAll("[data-testid=stMainBlockContainer] *")]
    .filter((one) => one.checkVisibility() && one.getBoundingClientRect().width > 0)
    .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !clipped(one))
    .map((one) => `${one.tagName}.${one.className} ${one.getBoundingClientRect().right}`);
}"""


# Parts of fields that scroll sideways; boxes of one pixel are for screen readers.
SCROLLS = """() => [...document.querySelectorAll("[data-testid=stMain] *")]
  .filter((one) => one.clientWidth > 1 && one.scrollWidth > one.clientWidth + 1)
  .filter((one) => getComputedStyle(one).overflowX !== "visible")
  .map((one) => `${one.dataset.testid || one.className} ${one.scrollWidth}`)"""


def open_page(page: Page, server: Server, link: str) -> None:
    page.goto(f"{server[0]}/{link}")
    page.wait_for_selector(
        "[data-testid=stMainBlockContainer] [data-testid=stElementContainer]", state="attached"
    )
    wait_until_idle(page)


@pytest.mark.parametrize("name", ["" if one is PAGES[0] else one.name for one in PAGES])
def test_no_page_scrolls_sideways_on_a_phone(page: Page, server: Server, name: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_page(page, server, name)
    assert page.evaluate(TOO_WIDE) == [0, 0]
    assert page.evaluate(OUTSIDE) == []
    expect(page.get_by_test_id("stMainMenuButton")).to_be_in_viewport(ratio=1)


def test_the_painter_of_rows_fits_a_phone(page: Page, server: Server) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_page(page, server, "edit?model=gpt-classroom")
    page.get_by_role("radio", name="Rows").first.click()
    choose(page, "Every query looks at", "One row by hand")
    page.get_by_text("Keys with weight").first.wait_for()
    assert page.evaluate(TOO_WIDE) == [0, 0]
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(SCROLLS) == []


@pytest.mark.parametrize(("width", "beside"), [(1280, False), (1600, True), (1920, True)])
def test_the_difference_is_beside_the_maps_where_there_is_room(
    page: Page, server: Server, width: int, beside: bool
) -> None:
    page.set_viewport_size({"width": width, "height": 1000})
    open_page(page, server, "pair?model=gpt-classroom")
    boxes = []
    for key in ("a_weights", "b_weights", "difference"):
        surface = page.locator(f".st-key-{key} .surface").first
        surface.wait_for()
        boxes.append(surface)
    wait_until_idle(page)
    first, second, difference = (one.bounding_box() for one in boxes)
    assert first and second and difference
    assert first["y"] == pytest.approx(second["y"], abs=2)
    if beside:
        assert difference["x"] > second["x"] + second["width"]
        assert difference["y"] == pytest.approx(second["y"], abs=2)
    else:
        assert difference["y"] > first["y"] + first["height"]
