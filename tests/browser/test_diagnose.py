"""Diagnosis in a browser: start, cancel, start again, click a head, open the report offline."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect

from attnviz.types import Head
from tests.browser.steps import Server, click_head, wait_until_idle
from tests.browser_tabs import Watch

SECRET = "zebra-secret-4711"
TEXTS = f"""The old king sat down. The old king sat down again, {SECRET}.
A small boat left the harbour before the sun came up over the hills.
No one in the village remembered who had built the old stone bridge.
She bought three apples, two pears and a loaf of bread at the market."""


def test_from_a_text_to_a_report(
    page: Page, visitor: BrowserContext, server: Server, tmp_path: Path
) -> None:
    page.goto(f"{server[0]}/diagnosis?model=gpt-classroom")
    page.get_by_text("Typed here").click()
    area = page.get_by_role("textbox", name="A text on each line")
    area.fill(TEXTS)
    area.press("Control+Enter")
    expect(page.get_by_text("4 texts")).to_be_visible()
    wait_until_idle(page)
    start = page.locator(".stMain").get_by_role("button", name="Diagnose")

    start.click()
    page.get_by_role("button", name="Cancel").click()
    expect(start).to_be_visible()
    expect(area).to_have_value(TEXTS)

    wait_until_idle(page)
    start.click()
    save = page.get_by_role("button", name="Save").locator("visible=true").first
    expect(save).to_be_visible(timeout=240_000)
    expect(
        page.get_by_role("heading", name=re.compile("makes no difference|No head is proven"))
    ).to_be_visible()
    wait_until_idle(page)
    assert page.locator(".stException").count() == 0

    click_head(page, 0, Head("self", 2, 5), layers=4, heads=8)
    expect(page.get_by_role("heading", name=re.compile("L2·H5"))).to_be_visible()
    wait_until_idle(page)
    assert "layer=2" in page.url and "head=5" in page.url

    thresholds = page.locator("summary").filter(has_text="Thresholds")
    thresholds.click()
    slider = page.locator(".st-key-thresholds").get_by_role("slider").first
    slider.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        before = slider.get_attribute("aria-valuenow")
        slider.press(key)
        expect(slider).not_to_have_attribute("aria-valuenow", before or "")
        wait_until_idle(page)
        expect(slider).to_be_visible()  # the panel stays open, the slider keeps its place
    expect(page.get_by_text("Some thresholds have been moved")).to_be_visible()
    page.get_by_role("button", name="Reset all").locator("visible=true").first.click()
    expect(page.get_by_text("Some thresholds have been moved")).to_have_count(0)
    thresholds.click()

    save.click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save the picture as SVG").locator("visible=true").nth(
            1
        ).click()
    assert waiting.value.suggested_filename == "attnviz-label-map.svg"
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Report (HTML)").locator("visible=true").first.click()
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)
    page.keyboard.press("Escape")
    assert SECRET not in path.read_text("utf-8")
    report = visitor.new_page()
    watch = Watch(report)
    visitor.set_offline(True)
    report.goto(path.as_uri())
    expect(report.locator("body[data-ready=yes]")).to_be_attached()
    assert report.locator("#heads tbody tr").count() == 32
    visitor.set_offline(False)
    watch.strangers.remove(path.as_uri())
    watch.check()
    report.close()

    page.get_by_role("link", name="Look at this head in Explore").first.click()
    expect(page.get_by_role("heading", name="L2·H5", exact=True)).to_be_visible()
    wait_until_idle(page)
    assert "model=gpt-classroom" in page.url
    page.get_by_role("link", name="Diagnose", exact=True).first.click()
    expect(save).to_be_visible()  # kept, not measured again
    page.locator("summary").filter(has_text="typed texts, 4 texts · change").click()
    expect(area).to_have_value(TEXTS)
    assert SECRET not in page.url
    assert SECRET not in server[1].read_text(errors="replace")


def test_two_models_open_cold(page: Page, server: Server) -> None:
    page.goto(f"{server[0]}/two_models?model=gpt-classroom&second=gpt-classroom")
    expect(page.get_by_text("Both are the same model: nothing can differ")).to_be_visible()
    wait_until_idle(page)
    assert page.locator(".stException").count() == 0
