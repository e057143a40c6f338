"""First screen: nothing jumps, map and predictions are seen together, the keyboard reaches both."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from tests.browser.steps import Server, wait_until_idle

pytestmark = pytest.mark.browser

# What moved on the page without a click, as browsers measure it, and every place of the heading.
WATCH = """
window.moved = 0;
window.places = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.moved += entry.value;
}).observe({ type: "layout-shift", buffered: true });
const look = () => {
  const heading = document.querySelector(".st-key-title_line");
  const box = heading?.getBoundingClientRect();
  if (box?.height) window.places.push([Math.round(box.left), Math.round(box.top)].join());
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""
MOST_MOVED = 0.1
"""Bound of a good page: https://web.dev/articles/cls."""

FONT_SIZES = """map => [...map.shadowRoot.querySelectorAll(".xtick text, .ytick text")]
  .map(one => parseFloat(getComputedStyle(one).fontSize))"""


def open_explore(page: Page, server: Server, link: str = "") -> None:
    page.goto(f"{server[0]}/{link}")
    for key in ("weights", "head_map"):
        page.locator(f".st-key-{key} .map[data-painted]").wait_for()
    page.locator(".st-key-candidates .row").first.wait_for()
    wait_until_idle(page)


def test_the_heading_stays_where_it_is_first_drawn(page: Page, server: Server) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    open_explore(page, server)  # the server reads the text: from now on only the browser is new
    fresh = page.context.browser.new_context(viewport={"width": 1280, "height": 800})
    try:
        again = fresh.new_page()
        again.add_init_script(WATCH)
        open_explore(again, server)
        assert len(set(again.evaluate("window.places"))) == 1
        assert again.evaluate("window.moved") < MOST_MOVED
    finally:
        fresh.close()


@pytest.mark.parametrize("model", ["gpt-classroom", "french-classroom"])
def test_map_and_predictions_are_on_one_screen(page: Page, server: Server, model: str) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    open_explore(page, server, f"?model={model}")
    for what in (".st-key-weights .surface", ".st-key-head_map .surface"):
        expect(page.locator(what)).to_be_in_viewport(ratio=1)
    bars = page.locator(".st-key-candidates .row")
    expect(bars).to_have_count(5)
    expect(bars.last).to_be_in_viewport(ratio=1)
    host = page.locator(".st-key-weights [data-drawn]")
    assert min(host.evaluate(FONT_SIZES)) >= 11


LONGER = "The old man went to the market and bought apples and pears, but the rain came down. " * 5


def test_a_longer_text_leaves_the_predictions_on_the_screen(page: Page, server: Server) -> None:
    """A strip of a hundred tokens scrolls on a low screen, and has more lines on a high one."""
    page.set_viewport_size({"width": 1280, "height": 800})
    open_explore(page, server, f"?{urlencode({'model': 'gpt-classroom', 'text': LONGER})}")
    bars = page.locator(".st-key-candidates .row")
    expect(bars.last).to_be_in_viewport(ratio=1)
    strip = page.locator(".st-key-token_strip .chips")
    low = (strip.bounding_box() or {"height": 0})["height"]
    assert strip.evaluate("one => one.scrollHeight > one.clientHeight")  # the rest can be reached
    page.set_viewport_size({"width": 1280, "height": 1100})
    assert (strip.bounding_box() or {"height": 0})["height"] > low


@pytest.mark.parametrize("kind", ["decoder", "cross"])
def test_the_title_is_one_line(page: Page, server: Server, kind: str) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    open_explore(page, server, f"?model=t5-classroom&kind={kind}")
    line = page.locator(".st-key-title_line")
    tops = [
        (line.locator(one).first.bounding_box() or {"y": 0.0})["y"]
        for one in ("h2", ".st-key-layer", ".st-key-units", ".st-key-pin")
    ]
    assert max(tops) - min(tops) < 20  # pixels: they have different heights


def test_the_keyboard_reaches_the_map_in_a_few_stops(page: Page, server: Server) -> None:
    open_explore(page, server)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    link = page.get_by_role("button", name="Skip to the map of the head")
    expect(link).to_be_focused()
    assert (link.bounding_box() or {"width": 0})["width"] > 40  # it is seen
    page.keyboard.press("Enter")
    expect(page.locator(".st-key-weights .surface")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".st-key-weights .says")).to_contain_text("weight")


def test_lines_are_drawn_in_the_font_of_the_app(page: Page, server: Server) -> None:
    page.goto(f"{server[0]}/lines?model=gpt-classroom")
    frame = page.frame_locator(".st-key-lines_frame iframe")
    words = frame.locator("svg text").first
    words.wait_for()
    loaded = words.evaluate(
        """async (one) => {
          const family = getComputedStyle(one).fontFamily.split(",")[0];
          await document.fonts.load(`15px ${family}`);
          return [...document.fonts].map(font => `${font.family} ${font.status}`);
        }"""
    )
    assert [one.replace('"', "") for one in loaded] == ["Source Sans loaded"]
