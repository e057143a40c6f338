"""Tokens, names and messages with a meaning in Markdown: a browser shows them as they are."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import serve
from tests.browser.steps import open_app, type_text, wait_until_idle
from tests.hostile.inert import MARKS, save_model

CHANGED = ("😄", "👍", "→", "←", "↔", "≥", "≤", "≠", "≈", "—")


def assert_nothing_changed(page: Page) -> None:
    """Fail where a link, a picture, a formula or another character stands for a mark."""
    text = page.locator("body").inner_text()
    assert not [one for one in CHANGED if one in text]
    assert page.locator('a[href*="example"], [data-testid=stMarkdownContainer] img').count() == 0
    assert page.locator("[data-testid=stMarkdownContainer] .katex").count() == 0
    for badge in page.locator(".stMarkdownBadge, .stMarkdownColoredText").all():
        assert badge.inner_text().strip() != "x"


THREE_NAMED = """marks => {
  const said = [...document.querySelectorAll(".attnviz-plain")].map(one => one.innerText).join(" ");
  return marks.filter(mark => said.includes(`“${mark}”`)).length >= 3;
}"""


def test_tokens_and_names_are_shown_as_they_are(
    chromium: Browser,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = save_model(tmp_path / "www.example.com")
    monkeypatch.setenv("ATTNVIZ_MODEL_FOLDERS", str(tmp_path))
    with serve(tmp_path_factory) as server:
        page = chromium.new_context().new_page()
        page.set_default_timeout(90_000)
        open_app(page, server, f"?model={quote(str(folder))}")
        for start in range(0, len(MARKS), 6):
            part = MARKS[start : start + 6]
            type_text(page, " ".join(part))
            place = (
                len(part) - 1 - start // 6 % 2
            )  # a second click on the same token ends the choice
            page.locator(".strip .token, .strip button").nth(place).click()
            wait_until_idle(page)
            page.wait_for_function(THREE_NAMED, arg=list(part))  # of the chosen token
            assert_nothing_changed(page)
            said = "\n".join(page.locator(".attnviz-plain").all_inner_texts())
            assert "looks at" in said
        for mark in (":material/home:", "www.example.com", ":smile:", "a->b", "$x$ and `c`"):
            page.goto(f"{server[0]}/?model={quote('x ' + mark)}")
            alert = page.get_by_role("alert")
            alert.first.wait_for()
            wait_until_idle(page)
            assert_nothing_changed(page)
            assert mark in alert.first.inner_text().replace("\u2060", "")
