"""Token strip and picture buttons in a served app, driven by mouse and keyboard."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from attnviz.ui.components.served_component import ASSETS
from tests.browser_tabs import Tab, Watch
from tests.served import script, served
from tests.views.samples import HOSTILE

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(chromium, tmp_path_factory):
    log = tmp_path_factory.mktemp("server") / "log"
    with served(script("tests/views/strip_app.py"), log) as server:
        yield server


@pytest.fixture(scope="module")
def tab(chromium):
    tab = Tab(chromium)
    yield tab
    tab.close()


@pytest.fixture
def visit(tab, address):
    """`visit(width, scheme)`: the page of both strips, checked at the end for errors."""
    watches = []

    def go(width=1280, scheme="light"):
        page = tab.open(width, 1000, scheme)
        watches.append(Watch(page))
        page.goto(address)
        strip(page, 1).locator(".chip").first.wait_for(timeout=60_000)
        page.locator(".js-plotly-plot .main-svg").first.wait_for()
        return page

    yield go
    for watch in watches:
        watch.end()
    tab.clear()
    for watch in watches:
        watch.check()


def strip(page, at=0):
    return page.locator(".strip").nth(at)


def chips(page, at=0):
    return strip(page, at).locator(".chip")


def says(page, text, at=0):
    lines = strip(page, at).locator(".says").filter(has_text=text)
    lines.wait_for(timeout=60_000)
    return lines.text_content().replace("\u2068", "").replace("\u2069", "")


def test_pointing_colours_the_keys_at_once(visit):
    page = visit()
    chips(page).nth(5).hover()
    said = says(page, "looks at")
    assert said.startswith("·over (5) looks at ")
    shown = chips(page).nth(5).locator(".number").text_content()
    assert shown == "" or 0 < float(shown) <= 1
    coloured = chips(page).evaluate_all("chips => chips.map(c => c.style.backgroundColor !== '')")
    assert coloured == [True] * 6 + [False] * 8
    masked = chips(page).evaluate_all("chips => chips.map(c => c.title.endsWith(': masked'))")
    assert masked == [False] * 6 + [True] * 8
    assert page.get_by_text("chosen: None").count() == 1


def test_a_click_reaches_python_and_a_second_lets_go(visit):
    page = visit()
    chips(page).nth(4).click()
    page.get_by_text("chosen: 4").wait_for()
    page.get_by_text("choose five").click()
    page.get_by_text("chosen: 5").wait_for()
    page.mouse.move(2, 2)
    says(page, "(5) looks at")
    chips(page).nth(5).click()
    page.get_by_text("chosen: None").wait_for()


def test_the_other_direction_shows_who_looks(visit):
    page = visit()
    chips(page).nth(2).click()
    page.get_by_text("chosen: 2").wait_for()
    strip(page).get_by_text("who looks at it").click()
    page.mouse.move(2, 2)
    assert says(page, "is looked at by").startswith("·quick (2) is looked at by ")
    masked = chips(page).evaluate_all("chips => chips.map(c => c.title.endsWith(': masked'))")
    assert masked == [True] * 2 + [False] * 12


def test_the_keyboard_is_enough(visit):
    page = visit()
    strip(page).get_by_text("who looks at it").focus()
    page.keyboard.press("Tab")
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    says(page, "(2) looks at")
    page.keyboard.press("Enter")
    page.get_by_text("chosen: 2").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("chosen: None").wait_for()
    page.keyboard.press("End")
    says(page, "(13) looks at")


def test_chips_have_names_and_states_for_a_screen_reader(visit):
    page = visit()
    chip = chips(page).nth(1)
    assert chip.get_attribute("aria-label") == "·The (1)"
    assert chip.get_attribute("aria-pressed") == "false"
    chip.click()
    page.get_by_text("chosen: 1").wait_for()
    assert chip.get_attribute("aria-pressed") == "true"
    assert ": weight 0." in chips(page).nth(0).get_attribute("aria-label")
    assert strip(page).locator(".says").get_attribute("aria-live") == "polite"


def test_two_texts_light_each_other_up(visit):
    page = visit()
    strip(page, 1).locator(".chips").nth(1).locator(".chip").nth(7).hover()
    assert says(page, "is looked at by", 1).startswith("👩‍👩‍👧 (7) is looked at by ")
    strip(page, 1).locator(".chips").nth(0).locator(".chip").nth(2).click()
    page.get_by_text("target: 2").wait_for()
    assert says(page, "(2) looks at", 1).startswith("trois (2)")


def test_hostile_tokens_are_text(visit):
    page = visit()
    words = strip(page, 1).locator(".chips").nth(1).locator(".word")
    assert words.all_text_contents() == list(HOSTILE)
    assert strip(page, 1).locator("img, a, script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_strip_wraps_on_a_telephone_and_can_be_read(visit, scheme):
    page = visit(390, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = chips(page).evaluate_all(
        "chips => chips.map(c => [c.getBoundingClientRect().left, c.getBoundingClientRect().right])"
    )
    assert all(left >= 0 and right <= 390 for left, right in boxes)
    chips(page).nth(8).click()
    page.get_by_text("chosen: 8").wait_for()
    worst = chips(page).evaluate_all(
        """chips => {
            const level = text => {
                const part = text.match(/[\\d.]+/g).slice(0, 3).map(value => {
                    const share = value / 255;
                    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
            };
            return Math.min(...chips.filter(c => c.style.backgroundColor).map(c => {
                const style = getComputedStyle(c);
                const pair = [level(style.color), level(style.backgroundColor)].sort();
                return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
            }));
        }"""
    )
    assert worst > 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_are_saved_as_svg_and_png(visit, scheme, tmp_path):
    page = visit(scheme=scheme)
    width, height = page.evaluate(
        "(({_fullLayout: f}) => [f.width, f.height])(document.querySelector('.js-plotly-plot'))"
    )
    for kind in ("svg", "png"):
        with page.expect_download() as waited:
            page.locator(f".pictures button[data-format={kind}]").click()
        assert waited.value.suggested_filename == f"L0-H1-weights.{kind}"
        waited.value.save_as(tmp_path / f"picture.{kind}")
    root = ElementTree.parse(tmp_path / "picture.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert float(root.get("width")) == width
    ground = "17, 22, 29" if scheme == "dark" else "255, 255, 255"
    assert ground in (tmp_path / "picture.svg").read_text("utf-8")
    png = (tmp_path / "picture.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    size = tuple(int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    assert size == (round(3 * width), round(3 * height))


def test_bytes_of_a_character_say_which_one_they_belong_to(visit):
    text = "é 😀 end"
    labels = ["<0xC3>", "<0xA9>", "·<0xF0><0x9F>", "<0x98>", "<0x80>", "·end", "<0xA9>", "<0xF0>"]
    notes = visit().evaluate(
        """async ([code, labels]) => {
            const module = await import(`data:text/javascript,${encodeURIComponent(code)}`);
            return module.byteNotes(labels);
        }""",
        [(ASSETS / "byte_pieces.js").read_text("utf-8"), labels],
    )
    assert notes == [
        f"byte 1 of {len('é'.encode())} of {text[0]}",
        "byte 2 of 2 of é",
        f"bytes 1–2 of {len('😀'.encode())} of {text[2]}",
        "byte 3 of 4 of 😀",
        "byte 4 of 4 of 😀",
        "",
        "",
        "",
    ]
