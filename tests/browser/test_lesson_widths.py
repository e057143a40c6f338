"""Lessons on a phone and a laptop: nothing is cut, covered or outside of the screen."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from attnviz.lessons import Lesson, lessons
from tests.browser.steps import Server
from tests.browser.test_lessons import guess_wrongly, open_lesson, stage

pytestmark = pytest.mark.browser

OUTSIDE = """(lesson) => [...lesson.querySelectorAll("*")]
  .filter((one) => !one.closest(".map-stage") && one.checkVisibility() && one.clientWidth > 0)
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
  .map((one) => `${one.className}: ${one.textContent}`)"""

CUT = """(lesson) => [...lesson.querySelectorAll(".label, .title, .number, .token, button")]
  .filter((one) => one.checkVisibility() && getComputedStyle(one).display !== "inline")
  .filter((one) => one.scrollWidth > one.clientWidth + 1)
  .map((one) => `${one.className}: ${one.textContent}`)"""

COVERED = """(lesson) => [...lesson.querySelectorAll(".arrows svg, .curve svg")].flatMap((svg) => {
  const texts = [...svg.querySelectorAll("text")].map((one) => [
    one.textContent, one.getBoundingClientRect(),
  ]);
  const meet = (one, other) =>
    Math.min(one.right, other.right) - Math.max(one.left, other.left) > 2
    && Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 4;
  const box = svg.getBoundingClientRect();
  const out = texts.filter(([, one]) => one.left < box.left - 1 || one.right > box.right + 1);
  const pairs = texts.flatMap(([text, one], at) =>
    texts.slice(at + 1).filter(([, other]) => meet(one, other)).map(([other]) => [text, other]));
  return [...out.map(([text]) => text), ...pairs];
})"""
"""Texts of drawings that leave the drawing, or lie on one another."""

BESIDE = """(lesson) => [...lesson.querySelectorAll(".bars .track")]
  .map((track) => [track.querySelector(".number"), track.querySelector(".handle")])
  .filter(([number, handle]) => handle.checkVisibility())
  .filter(([number, handle]) => {
    const [one, other] = [number.getBoundingClientRect(), handle.getBoundingClientRect()];
    const across = Math.min(one.right, other.right) - Math.max(one.left, other.left);
    return across > 1 && Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 4;
  })
  .map(([number]) => number.textContent)"""
"""Numbers of bars that lie below the handle of their bar."""


PAST_THE_LIST = """(rows) => rows.filter((one) => {
  const text = document.createRange();
  text.selectNodeContents(one.querySelector("div"));
  const list = one.closest("[data-testid=stSelectboxVirtualDropdown]");
  const hidden = one.querySelector("div").scrollWidth > one.querySelector("div").clientWidth;
  return hidden || text.getBoundingClientRect().right > list.getBoundingClientRect().right;
}).map((one) => one.textContent)"""
"""Titles of which a part is not shown."""


def check_sight(page: Page, name: str) -> None:
    for what in (OUTSIDE, CUT, COVERED, BESIDE):
        assert stage(page).evaluate(what) == [], name


@pytest.mark.parametrize("lesson", lessons(), ids=lambda one: one.name)
def test_a_phone_shows_the_whole_lesson(page: Page, server: Server, lesson: Lesson) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_lesson(page, server, f"lessons?lesson={lesson.name}")
    for at, step in enumerate(lesson.steps):
        stage(page).locator(".dot").nth(at).click()
        expect(stage(page)).to_have_attribute("data-step", step.name)
        check_sight(page, step.name)
        guess_wrongly(page, step)
        stage(page).locator(".main").click()
        expect(stage(page)).to_have_attribute("data-revealed", "true")
        check_sight(page, step.name)


@pytest.mark.parametrize("present", ["", "&present=1"])
@pytest.mark.parametrize("place", ["mixture&step=sum", "induction&step=training"])
def test_what_is_moved_is_on_the_screen(
    page: Page, server: Server, place: str, present: str
) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    open_lesson(page, server, f"lessons?lesson={place}&values=shown:1{present}")
    slider = stage(page).locator(".change input")
    expect(slider).to_be_in_viewport(ratio=1)


def test_titles_in_the_list_of_lessons_are_whole(page: Page, server: Server) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_lesson(page, server, "lessons?lesson=positions")
    page.get_by_role("combobox", name="Lesson").click()
    rows = page.get_by_role("option")
    expect(rows.nth(len(lessons()) // 2)).to_be_visible()
    assert rows.evaluate_all(PAST_THE_LIST) == []
    expect(page.get_by_test_id("stSelectboxVirtualDropdown")).to_be_in_viewport(ratio=1)
