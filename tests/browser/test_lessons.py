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


def check_links(page: Page) -> None:
    """Check that every linked word lights up a part of the picture."""
    words = stage(page).locator(".linked:visible")
    for at in range(words.count()):
        words.nth(at).focus()
        lit = stage(page).locator(".marked:not(.linked), .near, .band")
        assert lit.count() > 0, words.nth(at).inner_text()
        words.nth(at).evaluate("word => word.blur()")
    assert stage(page).locator(".marked, .near, .band").count() == 0


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
        check_links(page)
        stage(page).locator(".main").click()
        expect(stage(page)).to_have_attribute("data-revealed", "true")
        distance = stage(page).locator(".distance")
        expect(distance).to_be_visible()
        assert "–" not in distance.inner_text()  # a number that is missing
        wrong = max(wrong, float(distance.get_attribute("data-apart") or 0))
        # The address follows when everything has come to rest.
        rest = f"['step={step.name}', 'shown'].every((one) => location.search.includes(one))"
        page.wait_for_function(rest)
        check_links(page)
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


def test_the_handout_is_saved(page: Page, server: Server, chromium, tmp_path) -> None:
    """The file of the app prints on two pages; every lesson's is tested in `test_handout.py`."""
    for lesson in (lessons()[0], lessons()[-1]):
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


def test_a_small_map_is_drawn_large_and_its_cells_light_up_the_tokens(
    page: Page, server: Server
) -> None:
    open_lesson(page, server, "lessons?lesson=heads&step=names&values=shown:1")
    stage(page).locator(".thumb").nth(3).click()
    expect(stage(page).locator(".large-map figcaption")).to_have_text(
        stage(page).locator(".thumb").nth(3).locator(".name-of-head").inner_text()
    )
    page.wait_for_function("location.search.includes('frame%3A3')")
    expect(stage(page).locator(".large-map .main-svg").first).to_be_attached()
    surface = stage(page).locator(".large-map .surface")
    surface.scroll_into_view_if_needed()
    box = surface.bounding_box()
    assert box is not None and box["width"] > 100
    tokens = stage(page).locator(".token")
    count = tokens.count()
    page.mouse.move(box["x"] + box["width"] * 4.5 / count, box["y"] + box["height"] * 5.5 / count)
    expect(stage(page).locator(".token.marked")).to_have_text(
        [tokens.nth(4).inner_text(), tokens.nth(5).inner_text()]
    )
    says = stage(page).locator(".map-says")
    expect(says).to_contain_text("weight")
    tokens.nth(2).hover()
    expect(stage(page).locator(".large-map .band")).to_have_count(1)


def test_a_point_of_a_curve_and_its_word_light_each_other_up(page: Page, server: Server) -> None:
    open_lesson(page, server, "lessons?lesson=context&step=count&values=shown:1")
    word = stage(page).locator(".reveal .linked").last
    word.hover()
    expect(stage(page).locator(".curve .point.marked")).to_have_count(1)
    box = stage(page).locator(".curve svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 14, box["y"] + 60)
    expect(word).to_have_class(re.compile("marked"))


def test_the_seed_draws_other_numbers_and_is_in_the_link(page: Page, server: Server) -> None:
    open_lesson(page, server, "lessons?lesson=positions&step=shuffle")
    before = stage(page).locator(".question").inner_text()
    page.get_by_role("button", name="Draw again").click()
    field = page.get_by_label("Seed", exact=True)
    field.fill("7")
    field.press("Enter")
    expect(stage(page).locator(".question")).not_to_have_text(before)
    page.wait_for_function("location.search.includes('seed=7')")
    after = stage(page).locator(".question").inner_text()
    page.goto(page.url)
    expect(stage(page).locator(".question")).to_have_text(after)
    open_lesson(page, server, "lessons?lesson=softmax")
    assert page.get_by_role("button", name="Draw again").count() == 0


def test_texts_of_other_forms_stay_in_their_lesson(page: Page, server: Server) -> None:
    open_lesson(page, server, "lessons?lesson=similarity")
    page.get_by_role("button", name="Sentence and head").click()
    field = page.get_by_label("Text", exact=True)
    field.fill("a king wore the ring")
    field.press("Enter")
    expect(page.get_by_text("the lesson needs 2")).to_be_visible()
    field.fill("a king wore the ring. they danced in a ring")
    field.press("Enter")
    expect(stage(page).locator(".question .linked").first).to_have_text("ring")
    wait_until_idle(page)
    assert "ring" not in page.url
    open_lesson(page, server, FOX)
    expect(stage(page).locator(".sentence")).not_to_contain_text("ring")


def test_a_handle_is_dragged_by_touch(chromium, server: Server) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    context.set_default_timeout(60_000)
    page = context.new_page()
    open_lesson(page, server, f"{FOX}&step=shift")
    track = stage(page).locator(".track[data-kind=weight]").nth(3)
    track.scroll_into_view_if_needed()
    drag_by_touch(context, page, track, (0.05, 0.5), (0.6, 0.5))
    expect(track.locator(".number")).to_have_text(re.compile(r"0\.(59|60|61)"))
    open_lesson(page, server, "lessons?lesson=mixture&step=sum")
    plot = stage(page).locator(".arrows svg")
    plot.scroll_into_view_if_needed()
    drag_by_touch(context, page, plot, (0.5, 0.5), (0.7, 0.4))
    expect(stage(page).locator(".guess-tip")).to_be_attached()
    expect(stage(page).locator(".main")).to_be_enabled()
    open_lesson(page, server, "lessons?lesson=scaling&step=largest")
    curve = stage(page).locator(".curve svg")
    curve.scroll_into_view_if_needed()
    drag_by_touch(context, page, curve, (0.2, 0.7), (0.9, 0.2))
    expect(stage(page).locator(".main")).to_be_enabled()
    open_lesson(page, server, "lessons?lesson=induction&step=previous")
    stage(page).locator(".thumb").nth(4).tap()
    stage(page).locator(".main").tap()
    expect(stage(page)).to_have_attribute("data-revealed", "true")
    context.close()


def test_on_a_phone_the_lesson_begins_in_the_upper_third(chromium, server: Server) -> None:
    """The step's title is high on the screen, and the button that leads on is always on it."""
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    context.set_default_timeout(60_000)
    page = context.new_page()
    for link in ("lessons?lesson=softmax&step=shift", "lessons?lesson=induction&step=find"):
        open_lesson(page, server, link)
        title, main = (
            stage(page).locator(one).bounding_box() for one in ("h2.title", "button.main")
        )
        assert title is not None and title["y"] + title["height"] < 844 / 3
        assert main is not None and main["y"] + main["height"] <= 844
        for name in ("Sentence and head", "Reset", "Handout"):
            expect(page.get_by_role("button", name=name)).to_be_visible()
        width = page.evaluate("document.scrollingElement.scrollWidth")
        assert width <= 390
    context.close()


def drag_by_touch(
    context, page: Page, part, start: tuple[float, float], stop: tuple[float, float]
) -> None:
    """Drag a finger between two points of a part, given as shares of its sides."""
    box = part.bounding_box()
    assert box is not None
    touch = context.new_cdp_session(page)

    def at(share: float) -> dict[str, float]:
        across, down = (a + share * (b - a) for a, b in zip(start, stop, strict=True))
        return {"x": box["x"] + across * box["width"], "y": box["y"] + down * box["height"]}

    def send(kind: str, points: list[dict[str, float]]) -> None:
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    send("touchStart", [at(0)])
    for step in range(1, 11):
        send("touchMove", [at(step / 10)])
    send("touchEnd", [])


def test_play_moves_to_the_end_and_a_second_click_stops_it(page: Page, server: Server) -> None:
    open_lesson(page, server, "lessons?lesson=scaling&step=largest&values=shown:1,frame:0")
    slider = stage(page).locator(".change input")
    play = stage(page).get_by_role("button", name="Play")
    play.click()
    seen = "slider => slider.value > 0 && slider.value < 10"
    slider.evaluate(
        f"slider => new Promise((go) => {{ const wait = () =>"
        f" ({seen})(slider) ? go() : requestAnimationFrame(wait); wait(); }})"
    )
    play.click()
    stopped = slider.input_value()
    assert 0 < int(stopped) < 10
    page.wait_for_timeout(500)
    assert slider.input_value() == stopped
    play.click()
    expect(slider).to_have_value("10")
    page.wait_for_function("location.search.includes('frame%3A10')")


def test_without_motion_the_truth_and_play_come_at_once(chromium, server: Server) -> None:
    context = chromium.new_context(reduced_motion="reduce")
    context.set_default_timeout(60_000)
    page = context.new_page()
    open_lesson(page, server, f"{FOX}&step=shift")
    handle = stage(page).locator(".handle:visible").first
    handle.focus()
    page.keyboard.press("End")
    assert (
        stage(page).evaluate(
            "root => { root.querySelector('.main').click();"
            " return root.querySelector('.change .number').textContent; }"
        )
        == "100"
    )
    slider = stage(page).locator(".change input")
    slider.focus()
    page.keyboard.press("Home")
    value = stage(page).evaluate(
        "root => { root.querySelector('.play').click();"
        " return root.querySelector('.change .number').textContent; }"
    )
    assert value == "100"
    context.close()
