"""Page *Patch* in a browser: start the job, click a cell, see the head on both texts."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.steps import Server, click_in_map, start_and_cancel, wait_until_idle


def test_patch_click_a_head_and_follow_the_link(page: Page, server: Server) -> None:
    page.goto(f"{server[0]}/patch?model=gpt-classroom")
    start = page.get_by_role("button", name="Patch every head").locator("visible=true").first
    start.click()
    said = page.locator(".attnviz-plain", has_text="of the way")
    expect(said).to_contain_text("L0·H7 with its clean output", timeout=60_000)
    wait_until_idle(page)
    click_in_map(page, "patch_map", 1, 3, rows=4, columns=8)
    expect(said).to_contain_text("L1·H3 with its clean output")
    expect(page.locator(".st-key-clean_weights .map[data-painted]")).to_be_visible()
    expect(page.locator(".st-key-corrupted_weights .map[data-painted]")).to_be_visible()
    wait_until_idle(page)
    assert re.search("patch_layer=1", page.url)
    assert "dog" not in page.url  # texts are private
    page.get_by_role("radio", name="Layers and positions").click()
    expect(page.locator(".st-key-patch_stream .map[data-painted]")).to_be_visible()
    assert page.locator(".stException").count() == 0


def test_cancel_stops_the_job_and_keeps_the_texts(page: Page, server: Server) -> None:
    page.goto(f"{server[0]}/patch?model=gpt-classroom")
    clean = "The king and his old dog went home. " * 25
    texts = {"Clean text": clean, "Corrupted text": clean.replace("dog", "cat")}
    for name, text in texts.items():
        area = page.get_by_label(name, exact=True)
        area.fill(text)
        area.press("Control+Enter")
        wait_until_idle(page)
    start = page.get_by_role("button", name="Patch every head").locator("visible=true").first
    start_and_cancel(page, start, "Patching each")
    for name, text in texts.items():
        expect(page.get_by_label(name, exact=True)).to_have_value(text)
    # A short pair gets its place: the cancelled job holds none.
    for name, text in (
        ("Clean text", "The red dog. The red"),
        ("Corrupted text", "The old red cat. The red"),
    ):
        area = page.get_by_label(name, exact=True)
        area.fill(text)
        area.press("Control+Enter")
        wait_until_idle(page)
    expect(page.locator(".attnviz-plain", has_text="Without a partner").first).to_be_visible()
    start.click()
    expect(page.locator(".attnviz-plain", has_text="of the way")).to_be_visible()
    assert page.locator(".stException").count() == 0
