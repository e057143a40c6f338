"""Learn page in a browser: every lesson to its end, with one wrong prediction per step."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from attnviz.lessons import Lesson, lessons
from attnviz.lessons.lesson_reader import Step
from tests.browser.steps import Server, wait_until_idle

FOX = "lessons?lesson=softmax"


def open_lesson(page: Page, server: Server, link: str) -> None:
    page.goto(f"{server[0]}/{link}")
    stage(page).locator(".main").wait_for()
    wait_until_idle(page)


def stage(page: Page):
    return page.locator(".lesson")


def guess_wrongly(page: Page, step: Step) -> None:
    kind = step.predict["kind"]
    picks = stage(page).locator("[data-pick]")
    if kind == "names":
        stage(page).locator(".name").last.click()
    if kind in ("pick", "cell", "paint", "names"):
        picks.nth(picks.count() - 1).click()
        return
    if kind == "ticks":
        stage(page).locator("[data-tick]").last.click()
        return
    handle = stage(page).locator(".handle:visible").first
    handle.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")


def shown(page: Page) -> str:
    return stage(page).inner_text()


@pytest.mark.parametrize("lesson", lessons(), ids=lambda one: one.name)
def test_a_lesson_is_walked_to_its_end(page: Page, server: Server, lesson: Lesson) -> None:
    open_lesson(page, server, f"lessons?lesson={lesson.name}")
    wrong = 0.0
    for number, step in enumerate(lesson.steps):
        expect(stage(page)).to_have_attribute("data-step", step.name)
        expect(stage(page)).to_have_attribute("data-revealed", "false")
        expect(stage(page).locator(".main")).to_be_disabled()
        guess_wrongly(page, step)
        page.mouse.move(2, 2)
        stage(page).locator(".main").click()
        expect(stage(page)).to_have_attribute("data-revealed", "true")
        distance = stage(page).locator(".distance")
        expect(distance).to_be_visible()
        wrong = max(wrong, float(distance.get_attribute("data-apart") or 0))
        page.wait_for_function(f"location.search.includes('step={step.name}')")
        text = shown(page)
        assert not re.search(r"[{}]|\[\[|NaN|undefined", text), text
        last = number + 1 == len(lesson.steps)
        if not last:
            stage(page).locator(".main").click()
    assert wrong > 0
    done = stage(page).locator(".dot[data-done=true]")
    assert done.count() >= len(lesson.steps) - 1


def test_moving_a_bar_sends_nothing_to_the_server(page: Page, server: Server) -> None:
    sent: list[str] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda _: sent.append("frame")))
    open_lesson(page, server, f"{FOX}&step=shift")
    track = stage(page).locator(".track[data-kind=weight]").nth(3)
    box = track.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    before = len(sent)
    for share in (0.2, 0.5, 0.8, 0.6):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + 5)
    assert len(sent) == before
    page.mouse.up()
    expect(track.locator(".number")).to_have_text(re.compile(r"0\.(59|60|61)"))
    numbers = stage(page).locator(".track[data-kind=weight] .handle")
    total = sum(float(one.get_attribute("aria-valuenow") or 0) for one in numbers.all())
    assert total == pytest.approx(1)


def test_keys_walk_and_reveal_and_words_light_up_cells(page: Page, server: Server) -> None:
    open_lesson(page, server, f"{FOX}&step=twice")
    stage(page).locator(".linked[data-kind=weight]").first.hover()
    marked = stage(page).locator(".track.marked")
    expect(marked).to_have_count(1)
    assert marked.get_attribute("data-kind") == "weight"
    stage(page).locator(".track[data-kind=score]").nth(4).hover()
    expect(stage(page).locator(".linked.marked")).to_have_text("·ran")
    page.keyboard.press("ArrowRight")
    expect(stage(page)).to_have_attribute("data-step", "shift")
    page.keyboard.press("ArrowLeft")
    expect(stage(page)).to_have_attribute("data-step", "twice")
    page.keyboard.press(" ")  # no guess yet
    expect(stage(page)).to_have_attribute("data-revealed", "false")
    handle = stage(page).locator(".handle:visible")
    handle.focus()
    page.keyboard.press("ArrowLeft")
    handle.evaluate("handle => handle.blur()")
    page.keyboard.press(" ")
    expect(stage(page)).to_have_attribute("data-revealed", "true")


def test_a_link_opens_the_same_view_and_hides_what_it_names(page: Page, server: Server) -> None:
    values = "shown:1,temperature:2"
    link = f"{FOX}&step=temperature&values={values}&layer=1&head=3&hide=lessons,steps,formula"
    open_lesson(page, server, link)
    expect(stage(page)).to_have_attribute("data-step", "temperature")
    expect(stage(page)).to_have_attribute("data-revealed", "true")
    expect(stage(page).locator(".change .number")).to_have_text("2")
    for part in (".steps", ".formula"):
        expect(stage(page).locator(part)).to_be_hidden()
    expect(stage(page).locator(".keep")).to_be_visible()
    assert page.get_by_label("Lesson", exact=True).count() == 0
    slider = stage(page).locator(".change input")
    slider.focus()
    page.keyboard.press("End")
    page.wait_for_function("location.search.includes('temperature%3A64')")
    assert "head=3" in page.url and "hide=" in page.url and "text=" not in page.url


def test_dragged_scores_and_hidden_keys_are_in_the_link(page: Page, server: Server) -> None:
    open_lesson(page, server, f"{FOX}&step=hidden&values=shown:1")
    stage(page).locator("button.label").nth(2).click()
    page.wait_for_function("location.search.includes('hidden.2%3A1')")
    page.goto(page.url)
    stage(page).locator(".main").wait_for()
    expect(stage(page).locator(".hidden-key")).to_have_count(2)
    expect(stage(page).locator(".track[data-kind=weight] .number").nth(2)).to_have_text("0.00")


def test_a_link_with_nonsense_opens_the_first_lesson(page: Page, server: Server) -> None:
    link = "lessons?lesson=<b>&step=9&values=a:b,c,temperature:nan&layer=99&head=-1&hide=all"
    open_lesson(page, server, link)
    expect(stage(page)).to_have_attribute("data-lesson", lessons()[0].name)


def test_a_sentence_replaces_the_one_of_the_lesson_and_stays_text(
    page: Page, server: Server
) -> None:
    open_lesson(page, server, FOX)
    page.get_by_role("button", name="Sentence and head").click()
    field = page.get_by_label("Sentence", exact=True)
    field.fill("<img src=x onerror=alert(1)> _a_")
    field.press("Enter")
    expect(stage(page).locator(".sentence .token").nth(1)).to_have_text("<")
    assert stage(page).locator("img").count() == 0
    wait_until_idle(page)
    assert "onerror" not in page.url


def test_the_handout_prints_on_two_pages(page: Page, server: Server, chromium, tmp_path) -> None:
    for lesson in lessons():
        open_lesson(page, server, f"lessons?lesson={lesson.name}")
        with page.expect_download() as saved:
            stage(page).get_by_role("button", name="Handout").click()
        file = tmp_path / saved.value.suggested_filename
        saved.value.save_as(file)
        text = file.read_text("utf-8")
        assert "<script" not in text and lesson.title in text
        assert not re.search(r"\[\[|NaN|undefined|\{\w+[@}]", text.split("</style>")[1])
        printed = chromium.new_page()
        printed.goto(file.as_uri())
        pdf = printed.pdf(prefer_css_page_size=True)
        printed.close()
        assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 2, lesson.name
