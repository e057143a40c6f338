"""Maps of the lessons in a browser: what draws them, what fingers do, and what they read out."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.steps import Server
from tests.browser.test_lessons import open_lesson, stage


@pytest.fixture
def phone(chromium):
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


class Finger:
    """Touches of one finger or two on a page, with no wait of a driver between them."""

    def __init__(self, page: Page) -> None:
        self.session = page.context.new_cdp_session(page)

    def send(self, kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y, "id": at} for at, (x, y) in enumerate(points)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def tap(self, point: tuple[float, float]) -> None:
        self.send("touchStart", point)
        self.send("touchEnd")


def middle(part: Locator) -> tuple[float, float]:
    box = part.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def open_mask(page: Page, server: Server) -> list[tuple[float, float]]:
    """Open the mask to paint and return the middles of its cells."""
    open_lesson(page, server, "lessons?lesson=masks&step=paint")
    cells = stage(page).locator(".cell")
    expect(stage(page).locator(".map-stage[data-drawn]")).to_be_visible()
    cells.nth(14).scroll_into_view_if_needed()
    return [middle(one) for one in cells.all()]


def expect_masked(page: Page, *places: int) -> None:
    cells = stage(page).locator(".cell")
    expect(stage(page).locator(".cell.masked")).to_have_count(len(places))
    for place in places:
        expect(cells.nth(place)).to_have_class(re.compile("masked"))


def test_a_tap_right_after_a_drag_counts(phone: Page, server: Server) -> None:
    cells = open_mask(phone, server)
    finger = Finger(phone)
    finger.send("touchStart", cells[1])
    for place in (2, 3):
        finger.send("touchMove", cells[place])
    finger.send("touchEnd")
    finger.tap(cells[9])
    expect_masked(phone, 1, 2, 3, 9)


def test_a_drag_that_the_browser_takes_away_has_ended(phone: Page, server: Server) -> None:
    cells = open_mask(phone, server)
    finger = Finger(phone)
    finger.send("touchStart", cells[1])
    finger.send("touchMove", cells[2])
    finger.send("touchCancel")
    phone.mouse.move(*cells[5])
    finger.tap(cells[9])
    expect_masked(phone, 1, 2, 9)


def test_a_second_finger_neither_paints_nor_ends_the_drag(phone: Page, server: Server) -> None:
    cells = open_mask(phone, server)
    finger = Finger(phone)
    finger.send("touchStart", cells[1])
    finger.send("touchStart", cells[1], cells[13])
    finger.send("touchEnd", cells[1])
    finger.send("touchMove", cells[2])
    finger.send("touchEnd")
    expect_masked(phone, 1, 2)


def test_a_finger_draws_upright_and_the_page_stays(phone: Page, server: Server) -> None:
    open_lesson(phone, server, "lessons?lesson=scaling&step=largest")
    curve = stage(phone).locator(".curve .frame svg")
    curve.scroll_into_view_if_needed()
    box = curve.bounding_box()
    assert box is not None
    across = box["x"] + box["width"] / 2
    finger = Finger(phone)
    finger.send("touchStart", (across, box["y"] + 200))
    for down in range(190, 20, -10):
        finger.send("touchMove", (across, box["y"] + down))
    finger.send("touchEnd")
    assert curve.bounding_box() == box
    finger.tap(middle(stage(phone).locator(".main")))
    expect(stage(phone)).to_have_attribute("data-revealed", "true")


def test_the_maps_of_a_training_read_out_and_follow_the_mark(page: Page, server: Server) -> None:
    open_lesson(page, server, "lessons?lesson=induction&step=training&values=shown:1")
    maps = stage(page).locator(".map-cell .map-stage[data-drawn]")
    expect(maps).to_have_count(2)
    surface = maps.first.locator(".surface")
    surface.scroll_into_view_if_needed()
    box = surface.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 2.5 / 25, box["y"] + box["height"] * 3.5 / 25)
    says = stage(page).locator(".map-says")
    expect(says).to_contain_text("query 3 → key 2: weight")
    page.mouse.move(box["x"] + box["width"] * 9.5 / 25, box["y"] + box["height"] * 3.5 / 25)
    expect(says).to_contain_text("key 9: masked")
    before = maps.first.locator("image").first.get_attribute("href")
    slider = stage(page).locator(".change input")
    slider.focus()
    page.keyboard.press("Home")
    expect(maps.first.locator("image").first).not_to_have_attribute("href", before or "")
    surface.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(says).to_contain_text("query 1 → key 0")
    expect(stage(page)).to_have_attribute("data-step", "training")


@pytest.mark.parametrize(
    ("link", "count"),
    [("heads&step=names", 9), ("masks&step=paint", 1), ("induction&step=training", 2)],
)
def test_every_map_takes_the_other_colours(
    page: Page, server: Server, link: str, count: int
) -> None:
    page.emulate_media(color_scheme="light")
    open_lesson(page, server, f"lessons?lesson={link}&values=shown:1")
    expect(stage(page).locator(".map-stage[data-drawn=light]")).to_have_count(count)
    page.emulate_media(color_scheme="dark")
    expect(stage(page).locator(".map-stage[data-drawn=dark]")).to_have_count(count)


def test_a_matrix_shows_its_numbers_and_is_walked_by_keys(page: Page, server: Server) -> None:
    open_lesson(page, server, "lessons?lesson=similarity&step=matrix")
    texts = stage(page).locator(".heatmap-label text")
    expect(texts).to_have_count(12)  # the last row is hidden
    cells = stage(page).locator(".cell")
    names = [one.get_attribute("aria-label") or "" for one in cells.all()]
    numbers = sorted(name.rsplit(": ", 1)[1] for name in names if "not shown" not in name)
    assert sorted(texts.all_text_contents()) == numbers
    cells.first.focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(cells.nth(12)).to_have_class(re.compile("picked"))
    expect(cells.nth(12)).to_have_text("?")
