"""Lab and Cache in the browser: steps of tiles and rounds, predictions, the way from Explore."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.steps import Server, open_app, wait_until_idle


def open_side(page: Page, server: Server, variant: str, side: str) -> None:
    """Open the Lab on one of its sides."""
    page.goto(f"{server[0]}/laboratory?variant={variant}&layer=1&head=0")
    page.get_by_text(side, exact=True).locator("visible=true").first.click()
    wait_until_idle(page)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def heights(page: Page) -> list[float]:
    """Return the heights that the bars of the fold go to, in percent."""
    given = page.locator(".fold .fill").evaluate_all("bars => bars.map(bar => bar.style.height)")
    return [float(one.removesuffix("%")) for one in given]


def test_a_higher_score_shrinks_the_bars_before_it(page: Page, server: Server) -> None:
    open_side(page, server, "flash", "Tile by tile")
    expect(page.locator(".fold .count")).to_have_text("step 0 of 14")
    assert sum(heights(page)) == 0
    press(page, "Step")
    press(page, "Step")
    for _ in range(6):
        before = heights(page)
        press(page, "Step")  # the comparison
        factor = page.locator(".fold .number").nth(1).locator(".value").text_content() or "0"
        after = heights(page)
        for one, two in zip(before, after, strict=True):
            assert two == pytest.approx(one * float(factor.replace("−", "-")), rel=0.02, abs=1e-4)
        press(page, "Step")  # the addition
    expect(page.locator(".fold .says")).to_contain_text("divide by the sum")
    error = page.locator(".fold .number").nth(3).locator(".value").text_content()
    assert float((error or "1").replace("−", "-")) < 1e-12
    assert max(heights(page)) == pytest.approx(100)
    expect(page.get_by_role("button", name="Step", exact=True)).to_be_disabled()
    press(page, "Reset")
    assert sum(heights(page)) == 0


def test_play_runs_and_pauses(page: Page, server: Server) -> None:
    open_side(page, server, "ring", "Round by round")
    press(page, "Play")
    expect(page.locator(".ring .count")).to_have_text("step 3 of 3")
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    expect(page.locator(".ring .says")).to_contain_text("3 skip a block")
    press(page, "Back")
    expect(page.locator(".ring .says")).to_contain_text("2 skip a block")


def test_reduced_motion_has_steps_only(page: Page, server: Server) -> None:
    page.emulate_media(reduced_motion="reduce")
    open_side(page, server, "ring", "Round by round")
    expect(page.get_by_role("button", name="Step", exact=True)).to_be_visible()
    assert page.get_by_role("button", name="Play", exact=True).count() == 0
    duration = page.locator(".ring .block").first.evaluate(
        "box => getComputedStyle(box).transition"
    )
    assert re.match(r"none|all( 0s)?", duration)


def test_from_explore_to_the_lab_and_on_to_the_cache(page: Page, server: Server) -> None:
    open_app(page, server, "?layer=2&head=4")
    page.get_by_text("How would a window").locator("visible=true").first.click()
    expect(page.get_by_text("An approximation of softmax attention")).to_be_visible()
    wait_until_idle(page)
    assert "layer=2" in page.url
    assert "head=4" in page.url
    page.get_by_text("The cache: what it saves").locator("visible=true").first.click()
    expect(page.get_by_text("Where does the loss break?")).to_be_visible()
    wait_until_idle(page)
    page.get_by_role("button", name="This is my prediction").locator("visible=true").first.click()
    expect(page.get_by_text("Your prediction: 2 tokens")).to_be_visible()
    wait_until_idle(page)
    page.get_by_role("button", name="Measure every budget").locator("visible=true").first.click()
    figure = page.locator(".st-key-cache_break")
    expect(figure.get_by_text("your prediction")).to_be_visible(timeout=180_000)


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_no_page_scrolls_sideways(page: Page, server: Server, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for variant, side in (("flash", "Tile by tile"), ("ring", "Round by round")):
        open_side(page, server, variant, side)
        main = page.locator("[data-testid=stMain]")
        assert main.evaluate("box => box.scrollWidth - box.clientWidth") <= 0
    page.goto(f"{server[0]}/cache")
    expect(page.get_by_text("Where does the loss break?")).to_be_visible()
    wait_until_idle(page)
    assert page.locator("[data-testid=stMain]").evaluate("b => b.scrollWidth - b.clientWidth") <= 0
