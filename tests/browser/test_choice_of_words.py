"""Tokens or words, chosen with the mouse: strip, map, link, download and the way back."""

from __future__ import annotations

import csv
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.steps import Server, click_in_map, open_app, wait_until_idle

pytestmark = pytest.mark.browser

TEXT = "The unbelievable nurse was extraordinarily helpful."
WORDS = ["<|endoftext|>", "The", "unbelievable", "nurse", "was", "extraordinarily", "helpful", "."]


def chips(page: Page) -> list[str]:
    return page.locator(".st-key-token_strip .chip .word").all_inner_texts()


def test_words_are_chosen_followed_saved_and_left_again(page: Page, server: Server) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    open_app(page, server, f"?{urlencode({'model': 'gpt-classroom', 'text': TEXT})}")
    pieces = chips(page)
    assert len(pieces) > len(WORDS)

    page.locator(".st-key-units").get_by_text("Words", exact=True).click()
    expect(page.locator(".st-key-token_strip .chip")).to_have_count(len(WORDS))
    wait_until_idle(page)
    assert chips(page) == WORDS
    assert parse_qs(urlsplit(page.url).query)["units"] == ["words"]

    names = page.locator(".st-key-weights .ytick text")
    expect(names.nth(2)).to_contain_text("unbelievable")
    page.locator(".st-key-token_strip .chip", has_text="unbelievable").click()
    expect(page.get_by_text("“unbelievable” looks at")).to_be_visible()
    wait_until_idle(page)

    with page.expect_download() as saved:
        page.get_by_role("button", name="Weights as CSV").locator("visible=true").first.click()
    assert saved.value.suggested_filename.endswith("-words.csv")
    path = Path(str(saved.value.path()))
    rows = list(csv.reader(path.read_text("utf-8-sig").splitlines()))
    assert [one.split(" ", 1)[1] for one in rows[0][1:]] == WORDS
    assert all(abs(sum(map(float, row[1:])) - 1) < 1e-4 for row in rows[1:])

    page.locator(".st-key-units").get_by_text("Tokens", exact=True).click()
    expect(page.locator(".st-key-token_strip .chip")).to_have_count(len(pieces))
    wait_until_idle(page)
    last = page.locator('.st-key-token_strip .chip[aria-pressed="true"] .word')
    expect(last).to_have_text("able")  # the last token of the chosen word


def test_a_row_of_the_map_of_words_is_clicked(page: Page, server: Server) -> None:
    open_app(
        page, server, f"?{urlencode({'model': 'gpt-classroom', 'text': TEXT, 'units': 'words'})}"
    )
    click_in_map(page, "weights", 5, 1, len(WORDS), len(WORDS))
    expect(page.get_by_text("looks at").filter(has_text="“").first).to_be_visible()
    pressed = page.locator('.st-key-token_strip .chip[aria-pressed="true"]')
    expect(pressed).to_have_count(1)
