"""View *What flows* in a browser: the slow measures are a job that is cancelled and begun again."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.steps import (
    Server,
    choose,
    open_app,
    start_and_cancel,
    type_text,
    wait_until_idle,
)

LONG = "The king and his old dog went home. " * 12


def test_cancel_stops_the_measures_and_loses_nothing(page: Page, server: Server) -> None:
    open_app(page, server, "?model=gpt-classroom&layer=1&head=3")
    type_text(page, LONG)
    page.get_by_role("radio", name="What flows").click()
    sentence = page.locator(".attnviz-plain", has_text="the largest weight")
    expect(sentence).to_contain_text("nats")
    wait_until_idle(page)
    before = sentence.inner_text()
    start = page.get_by_role("button", name="Measure every edge").locator("visible=true").first
    start_and_cancel(page, start, "Zeroing each value")
    expect(sentence).to_have_text(before)
    expect(page.get_by_label("Text", exact=True)).to_have_value(LONG)
    assert "layer=1&head=3" in page.url
    expect(page.locator(".st-key-edge_map .map[data-painted]")).to_be_visible()
    # A shorter text gets its place: the cancelled job holds none.
    type_text(page, "The little fox ran into the dark forest. The old owl saw the little fox ran")
    start.click()
    expect(page.get_by_role("button", name="Measure every edge")).to_have_count(0)
    wait_until_idle(page)
    # Its bar stands there now, or it was faster; the page is drawn anew when it has finished.
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    choose(page, "What the map shows", "Removed")
    expect(page.locator(".st-key-edge_map .map[data-painted]")).to_be_visible()
    expect(page.get_by_text("KL of the row's prediction").first).to_be_visible()
    wait_until_idle(page)
    expect(page.get_by_role("button", name="Measure every edge")).to_have_count(0)
    assert page.locator(".stException").count() == 0
