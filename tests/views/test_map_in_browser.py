"""Map to zoom into, in a real browser: what it shows, says, sends and saves."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from attnviz.attention.stack.map_tiles import Window, grid
from attnviz.types import Head
from attnviz.written_numbers import decimals
from tests.browser_tabs import Tab, Watch
from tests.served import script, served
from tests.views.long_stack import WORDS, long_stack

pytestmark = pytest.mark.browser

COUNT = 600
HINT = "wheel, + and − zoom"


@pytest.fixture(scope="module")
def address(chromium, tmp_path_factory):
    log = tmp_path_factory.mktemp("server") / "log"
    with served(script("tests/views/map_app.py"), log) as server:
        yield server


@pytest.fixture(scope="module")
def tabs(chromium):
    """Return the tabs of this file: with a mouse alone, and with touch."""
    tabs = {touch: Tab(chromium, has_touch=touch) for touch in (False, True)}
    yield tabs
    for tab in tabs.values():
        tab.close()


@pytest.fixture
def visit(tabs, address):
    """`visit(width, scheme, touch, tokens)`: the page of the map; `frames_seen` has what it got."""
    watches = []

    def go(width=1000, scheme="light", touch=False, tokens=COUNT):
        page = tabs[touch].open(width, 1000, scheme)
        if not watches:
            page.frames_seen = []
            page.on("websocket", note_frames)
            watches.append((page, Watch(page)))
        page.goto(f"{address}/?tokens={tokens}")
        page.locator(".map[data-painted]").wait_for(timeout=60_000)
        return page

    def note_frames(socket):
        frames = watches[0][0].frames_seen
        socket.on("framereceived", lambda frame: frames.append(len(frame)))

    yield go
    for page, watch in watches:
        page.remove_listener("websocket", note_frames)
        watch.end()
    for tab in tabs.values():
        tab.clear()
    for _, watch in watches:
        watch.check()


@pytest.fixture(scope="module")
def stack():
    return long_stack(COUNT)


def where(page):
    """Return the tokens in view, as the page names them: first and last of queries and keys."""
    said = page.locator(".map .where").text_content()
    return [int(one.replace(",", "")) for one in re.findall(r"[\d,]*\d", said)[:4]]


def waits_for(page, text):
    page.locator(".map .where").filter(has_text=text).wait_for(timeout=60_000)


def plot(page):
    """Return the plot's place on the page: x, y of its corner, and a side."""
    stage = page.locator(".map .stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    left, top, across, down = map(float, page.locator(".map").get_attribute("data-plot").split(","))
    assert across == pytest.approx(down), "cells are square"
    assert across <= box["width"] - left
    return box["x"] + left, box["y"] + top, across


def hover(page, query, key):
    """Point at a cell and return what is said about it."""
    x, y, side = plot(page)
    first, last, key_first, key_last = where(page)
    page.mouse.move(x - 3, y - 3)
    page.mouse.move(
        x + side * (key + 0.5 - key_first) / (key_last - key_first + 1),
        y + side * (query + 0.5 - first) / (last - first + 1),
    )
    said = page.locator(".map .says").filter(has_text=re.compile(r"weight|masked"))
    said.wait_for()
    return said.text_content().replace("\u2068", "").replace("\u2069", "")


def zoom_in(page, times=1):
    for _ in range(times):
        page.locator(".map [data-zoom=in]").click()


def test_from_afar_a_point_is_the_largest_of_its_bin(visit, stack):
    page = visit()
    assert where(page) == [0, COUNT - 1, 0, COUNT - 1]
    assert "3 × 3 cells per bin" in page.locator(".map .where").text_content()
    bins = grid(stack, Head("self", 0, 0), Window.whole(stack.shape)).values
    said = hover(page, 301, 31)
    shown = float(re.search(r"largest weight of this bin ([\d.e−]+)", said)[1].replace("−", "-"))
    assert shown == pytest.approx(bins[100, 10], abs=5e-5)
    assert said.startswith("300–302 (from ")
    assert "masked: this query cannot see this key" in hover(page, 100, 400)


def test_near_by_every_cell_is_exact_and_has_its_label(visit, stack):
    page = visit()
    zoom_in(page, 4)  # 600 / 16 = 38 tokens
    waits_for(page, "single cells")
    first, last, key_first, key_last = where(page)
    weights = stack.weights(0, 0)
    for query, key in ((first + 12, key_first + 3), (last - 3, key_last - 9)):
        said = hover(page, query, key)
        assert said.startswith(f"{short(query)} ({query}) → {short(key)} ({key})")
        shown = re.search(r"weight ([\d.e−]+)", said)[1].replace("−", "-")
        assert float(shown) == pytest.approx(weights[query, key], rel=0.05, abs=5e-5)
    assert page.locator(".map img, .map a, .map script").count() == 0


def short(position):
    """Return a token's label as the map writes it."""
    label = WORDS[position % len(WORDS)]
    return label if len(label) <= 14 else label[:5]


def test_the_wheel_is_the_pages_until_the_map_is_clicked(visit):
    page = visit()
    x, y, side = plot(page)
    page.mouse.move(x + side / 2, y + side / 2)
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(200)
    assert where(page) == [0, COUNT - 1, 0, COUNT - 1]
    page.mouse.click(x + side / 2, y + side / 2)
    page.mouse.wheel(0, -300)
    page.locator(".map .surface.zoomed").wait_for()
    first, last, *_ = where(page)
    assert 50 < first < last < 550


def test_double_click_and_drag(visit):
    page = visit()
    x, y, side = plot(page)
    page.mouse.dblclick(x + side * 0.25, y + side * 0.75)
    waits_for(page, "single cells")
    first, last, key_first, _ = where(page)
    assert last - first + 1 == pytest.approx(COUNT / 4, abs=2)
    assert first < COUNT * 0.75 < last
    page.mouse.move(x + side * 0.5, y + side * 0.5)
    page.mouse.down()
    page.mouse.move(x + side * 0.4, y + side * 0.7, steps=4)
    page.mouse.up()
    moved, _, key_moved, _ = where(page)
    assert moved < first
    assert key_moved > key_first
    page.get_by_text("Whole map").click()
    assert where(page) == [0, COUNT - 1, 0, COUNT - 1]


def test_the_keyboard_is_enough(visit, stack):
    page = visit()
    page.locator(".map .surface").focus()
    for key in ("+", "+", "+", "+"):
        page.keyboard.press(key)
    waits_for(page, "single cells")
    before = where(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    after = where(page)
    assert after[0] > before[0]
    assert after[2] < before[2]
    for _ in range(3):
        page.keyboard.press("Shift+ArrowDown")
    said = page.locator(".map .says").text_content()
    query, key = (int(one) for one in re.findall(r"\((\d+)\)", said)[-2:])
    shown = float(re.search(r"weight ([\d.e−]+)", said)[1].replace("−", "-"))
    assert shown == pytest.approx(stack.weights(0, 0)[query, key], rel=0.05, abs=5e-5)
    page.keyboard.press("0")
    assert where(page) == [0, COUNT - 1, 0, COUNT - 1]


def test_it_has_a_name_and_says_what_it_says(visit):
    page = visit()
    canvas = page.locator(".map .surface")
    assert canvas.get_attribute("aria-label") == "head 0"
    assert canvas.get_attribute("tabindex") == "0"
    assert page.locator(".map .says").get_attribute("aria-live") == "polite"
    assert HINT in page.locator(".map .says").text_content()
    for button in page.locator(".map button").all():
        assert (button.get_attribute("aria-label") or button.text_content()).strip()


def test_numbers_are_sent_once_and_views_are_small(visit):
    page = visit()
    assert sum(page.frames_seen) < 300_000
    zoom_in(page, 3)
    waits_for(page, "single cells")
    first, last, key_first, key_last = where(page)
    page.get_by_text(f"seen: [{first}, {last + 1}, {key_first}, {key_last + 1}]").wait_for()
    # Three clicks are one request, or some more on a busy machine.
    cut = int(page.get_by_text(re.compile(r"^grids: \d+$")).text_content().split()[1])
    assert cut >= 2
    page.frames_seen.clear()
    page.get_by_text("log", exact=True).click()  # other colours, the same numbers
    page.get_by_text("scale shown: log").wait_for()
    assert page.get_by_text(f"grids: {cut}").count() == 1
    assert sum(page.frames_seen) < 80_000  # the component's own script is among it
    # Another head: the part in view, and no more.
    page.get_by_role("radio", name="1", exact=True).click()
    page.get_by_text(f"grids: {cut + 1}").wait_for()
    page.locator(".map .surface[aria-label='head 1']").wait_for()
    assert 20_000 < sum(page.frames_seen) < 300_000
    assert where(page)[0] > 0  # still the same part


def test_the_page_knows_what_is_on_the_screen(visit):
    page = visit()
    zoom_in(page, 3)
    waits_for(page, "single cells")
    first, last, key_first, key_last = where(page)
    page.get_by_text(f"seen: [{first}, {last + 1}, {key_first}, {key_last + 1}]").wait_for()


def test_a_chosen_row_is_brought_into_view(visit):
    page = visit()
    zoom_in(page, 3)
    waits_for(page, "single cells")
    assert where(page)[1] < 500
    page.get_by_text("choose row 500").click()
    for _ in range(600):
        if where(page)[1] >= 500:
            break
        page.wait_for_timeout(100)
    first, last, *_ = where(page)
    assert first <= 500 <= last


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_masked_zero_and_largest_look_different(visit, scheme):
    pixels = picture(visit(scheme=scheme))
    size = len(pixels)
    upper = pixels[: size // 3, size * 2 // 3 :]
    lower = pixels[size * 2 // 3 :, : size // 3]
    page_color = [255, 255, 255] if scheme == "light" else [17, 22, 29]
    empty = (upper == page_color).all(-1)
    assert 0.3 < empty.mean() < 0.9  # hatched: the page shows between the strokes
    assert not (lower[1:-1, 1:-1] == page_color).all(-1).any()  # cells near zero are filled, too


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_what_is_seen_is_saved(visit, kind, tmp_path):
    page = visit(scheme="dark")
    zoom_in(page, 4)
    waits_for(page, "single cells")
    with page.expect_download() as waited:
        page.locator(f".map button[data-format={kind}]").click()
    assert waited.value.suggested_filename == f"map.{kind}"
    path = tmp_path / "picture"
    waited.value.save_as(path)
    if kind == "png":
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        return
    root = ElementTree.parse(path).getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert not list(root.iter(f"{space}script"))
    texts = {"".join(one.itertext()).strip("\u2068\u2069") for one in root.iter(f"{space}text")}
    assert {"·the", "·cat", "<b>x</b>", "▨ masked"} <= texts


def test_it_fits_a_telephone_and_a_finger(visit):
    page = visit(390, touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator(".map .surface").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    canvas = page.locator(".map .surface")
    assert canvas.evaluate("canvas => getComputedStyle(canvas).touchAction") == "pan-y"
    zoom_in(page)
    assert canvas.evaluate("canvas => getComputedStyle(canvas).touchAction") == "none"


def test_two_fingers_zoom(visit):
    page = visit(390, touch=True)
    x, y, side = plot(page)
    session = page.context.new_cdp_session(page)

    def touch(kind, apart):
        points = [
            {"x": x + side / 2 + way * apart, "y": y + side / 2, "id": number}
            for number, way in enumerate((-1, 1))
        ]
        session.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [] if kind == "touchEnd" else points},
        )

    touch("touchStart", 20)
    for apart in (30, 45, 60, 80):
        touch("touchMove", apart)
    touch("touchEnd", 0)
    first, last, *_ = where(page)
    assert 60 < last - first < 300


def picture(page):
    """Return the plot's pixels, red, green and blue."""
    x, y, side = plot(page)
    page.mouse.move(2, 2)  # no cell is marked
    shot = page.screenshot(clip={"x": x + 1, "y": y + 1, "width": side - 2, "height": side - 2})
    return np.array(Image.open(io.BytesIO(shot)).convert("RGB"))


@pytest.mark.parametrize("width", [1000, 390])
@pytest.mark.parametrize("tokens", [6, 20, 100])
def test_cells_are_square_at_every_width(visit, tokens, width):
    page = visit(width, tokens=tokens)
    _, _, side = plot(page)  # which looks whether they are
    assert side >= 200 or tokens == 6
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_short_text_says_weight_score_and_rank_of_every_cell(visit):
    page, small = visit(tokens=20), long_stack(20)
    weights, scores = small.weights(0, 0), small.scores(0, 0)
    x, y, side = plot(page)
    for query, key in ((19, 0), (12, 5), (7, 7)):
        page.mouse.move(x + side * (key + 0.5) / 20, y + side * (query + 0.5) / 20)
        page.locator(".map .says").filter(has_text=f"({query}) → ").wait_for()
        said = page.locator(".map .says").text_content()
        rank = 1 + int((weights[query] > weights[query, key]).sum())
        assert f"score {decimals(scores[query, key], 3)} · rank {rank}" in said
        assert float(re.search(r"weight ([\d.e−]+)", said)[1].replace("−", "-")) == pytest.approx(
            weights[query, key], abs=5e-5, rel=0.05
        )
        assert f"\u2068{WORDS[query % len(WORDS)]}\u2069 ({query})" in said  # the whole label
    page.mouse.move(x + side * 0.9, y + side * 0.1)
    page.locator(".map .says").filter(has_text="masked: this query").wait_for()


def test_a_short_text_needs_no_zoom_and_asks_for_nothing(visit):
    page = visit(tokens=20)
    assert page.locator(".map .map-tools").is_hidden()
    page = visit(390, tokens=100)  # too narrow for its labels: there is something to come closer to
    page.locator(".map [data-zoom=in]").click()
    page.locator(".map .surface.zoomed").wait_for()
    page.wait_for_timeout(600)
    assert page.get_by_text("grids: 1").count() == 1
    assert page.get_by_text("seen: [0, 100, 0, 100]").count() == 1


@pytest.mark.parametrize("tokens", [20, COUNT])
def test_a_click_on_a_row_chooses_its_token_and_a_drag_does_not(visit, tokens):
    page = visit(tokens=tokens)
    x, y, side = plot(page)
    page.mouse.move(x + side / 4, y + side * 0.505)
    page.mouse.down()
    page.mouse.move(x + side / 2, y + side * 0.7, steps=3)
    page.mouse.up()
    page.wait_for_timeout(300)
    assert page.get_by_text("selected: None, clicked: False").count() == 1
    page.mouse.click(x + side / 4, y + side * 0.505)
    said = page.get_by_text("clicked: True")
    said.wait_for()
    row = int(re.search(r"\d+", said.text_content())[0])
    assert row == pytest.approx(tokens * 0.505, abs=1)
    page.get_by_text("log", exact=True).click()
    page.get_by_text(f"selected: {row}, clicked: False").wait_for()  # a click counts once
    page.locator(".map .surface").focus()
    page.keyboard.press("Escape")
    page.get_by_text("selected: None, clicked: True").wait_for()


def test_the_keyboard_chooses_a_row(visit):
    page = visit(tokens=20)
    page.locator(".map .surface").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    said = page.locator(".map .says").text_content()
    row = int(re.search(r"\((\d+)\) → ", said)[1])
    assert " · rank " in said
    page.keyboard.press("Enter")
    page.get_by_text(f"selected: {row}, clicked: True").wait_for()


def test_what_the_cursor_says_follows_the_head(visit):
    page, small = visit(tokens=20), long_stack(20)
    page.locator(".map .surface").focus()
    page.keyboard.press("ArrowDown")
    page.get_by_role("radio", name="1", exact=True).click()
    said = page.locator(".map .says").filter(
        has_text=f"score {decimals(small.scores(0, 1)[10, 10], 3)}"
    )
    said.wait_for()


def colour(page, query, key):
    """Return the colour of a cell that is in view, and the end of the colour bar in words."""
    first, last, key_first, key_last = where(page)
    pixels = picture(page)
    row = (query + 0.5 - first) / (last - first + 1) * pixels.shape[0]
    column = (key + 0.5 - key_first) / (key_last - key_first + 1) * pixels.shape[1]
    return pixels[int(row), int(column)].astype(int)


def test_linear_colours_mean_the_same_however_near_one_looks(visit, stack):
    page = visit()
    zoom_in(page, 2)
    waits_for(page, "single cells")
    first, last, key_first, key_last = where(page)
    weights = stack.weights(0, 0)
    part = weights[first + 40 : last - 40, key_first + 40 : key_last - 40]
    query, key = np.unravel_index(part.argmax(), part.shape)
    query, key = query + first + 40, key + key_first + 40
    before = colour(page, query, key)
    x, y, side = plot(page)
    page.mouse.move(
        x + side * (key + 0.5 - key_first) / (key_last - key_first + 1),
        y + side * (query + 0.5 - first) / (last - first + 1),
    )
    page.keyboard.down("Control")
    page.mouse.wheel(0, -120)
    page.keyboard.up("Control")
    page.wait_for_timeout(800)
    assert where(page)[1] - where(page)[0] < last - first
    assert np.abs(colour(page, query, key) - before).max() <= 2


def test_means_say_that_their_colours_are_those_of_the_part(visit, tmp_path):
    page = visit()
    page.get_by_text("mean", exact=True).click()
    page.get_by_text("grids: 2").wait_for()
    page.wait_for_timeout(1000)
    with page.expect_download() as waited:
        page.locator(".map button[data-format=svg]").click()
    waited.value.save_as(tmp_path / "picture.svg")
    assert "mean weight, of this part" in (tmp_path / "picture.svg").read_text("utf-8")
