"""Main path of a user: type a text, click a head, read a value, send a link."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

import attnviz
from attnviz.views.style.theme import palette
from tests.bounds import SAME
from tests.browser.steps import Server, click_in_map, open_app, place, type_text, wait_until_idle
from tests.browser_tabs import Watch

TEXT = "The old king sat down. The old king sat"


def test_type_click_read_and_open_the_link_cold(
    page: Page, visitor: BrowserContext, server: Server
) -> None:
    open_app(page, server)
    type_text(page, TEXT)

    click_in_map(page, "head_map", 2, 5, rows=4, columns=8)
    expect(page.get_by_role("heading", name=re.compile("L2·H5"))).to_be_visible()
    wait_until_idle(page)
    assert "layer=2" in page.url
    assert "head=5" in page.url

    stack = attnviz.capture(attnviz.load("gpt-classroom"), TEXT)["self"]
    n = len(stack.query_tokens)
    row = n - 1
    column = int(stack.weights(2, 5)[row].argmax())
    page.mouse.move(*place(page, row, column, n, n))
    tip = page.locator(".st-key-weights .map .says")
    expect(tip).to_contain_text("weight")
    shown = tip.text_content() or ""
    expected = stack.weights(2, 5)[row, column]
    numbers = [float(one) for one in re.findall(r"\d+\.\d+", shown)]
    assert any(abs(one - expected) < 0.006 for one in numbers), (shown, expected)

    cold = visitor.new_page()
    watch = Watch(cold)
    cold.goto(page.url)
    expect(cold.get_by_role("heading", name=re.compile("L2·H5"))).to_be_visible()
    assert TEXT not in cold.get_by_label("Text", exact=True).input_value()  # texts are private
    watch.check()


@pytest.mark.parametrize("path", ["pair", "induction", "numbers"])
def test_every_page_opens_cold(cold_page: Page, server: Server, path: str) -> None:
    page = cold_page
    page.goto(f"{server[0]}/{path}?model=gpt-classroom")
    page.wait_for_selector(".stMain .stMarkdown")
    wait_until_idle(page)
    assert page.locator(".stException").count() == 0
    menu = page.get_by_label("Model", exact=True)
    expect(menu).to_have_count(0 if path == "numbers" else 1)


def test_a_token_shows_where_it_looks(page: Page, server: Server) -> None:
    open_app(page, server, "?model=gpt-classroom&layer=1&head=1")
    type_text(page, TEXT)
    stack = attnviz.capture(attnviz.load("gpt-classroom"), TEXT)["self"]
    at = [place for place, label in enumerate(stack.query_tokens.labels) if "king" in label][-1]
    page.locator(".strip .chip").nth(at).click()
    said = page.get_by_text(re.compile("king. looks at$"))
    expect(said.first).to_be_visible()
    wait_until_idle(page)
    label = stack.key_tokens.labels[int(stack.weights(1, 1)[at].argmax())].lstrip("·")
    expect(page.locator(".strip .says")).to_contain_text(re.compile(f"looks at \\W*{label}"))


def test_strip_and_map_mark_the_same_token(page: Page, server: Server) -> None:
    open_app(page, server, "?model=gpt-classroom&layer=1&head=5")
    chips = page.locator(".st-key-token_strip .chip")
    weights = page.locator(".st-key-weights .map[data-painted]")
    weights.wait_for()
    chips.nth(3).hover()
    expect(weights.locator(".row-name")).to_have_text(chips.nth(3).locator(".word").inner_text())
    expect(weights.locator(".column-band")).to_be_hidden()
    page.mouse.move(1, 1)
    expect(weights.locator(".row-band")).to_be_hidden()
    surface = weights.locator(".surface")
    box = surface.bounding_box()
    assert box is not None
    tokens = chips.count()
    cell = {"x": 1.5 * box["width"] / tokens, "y": 3.5 * box["height"] / tokens}
    surface.hover(position=cell)  # type: ignore[arg-type]
    expect(page.locator(".st-key-token_strip .chip.active")).to_have_count(1)
    expect(chips.nth(3)).to_have_class(re.compile(r"\bactive\b"))
    expect(chips.nth(1)).to_have_class(re.compile(r"\blinked\b"))


def test_both_maps_of_compare_begin_level_and_mark_the_same_cell(
    page: Page, server: Server
) -> None:
    open_app(page, server, "pair?model=gpt-classroom&a_layer=1&a_head=5&b_layer=0&b_head=7")
    maps = [
        page.locator(f".st-key-{side}_weights .map[data-painted] .surface") for side in ("a", "b")
    ]
    boxes = [one.bounding_box() for one in maps]
    assert boxes[0] is not None and boxes[1] is not None
    assert abs(boxes[0]["y"] - boxes[1]["y"]) < 1
    maps[0].hover(position={"x": boxes[0]["width"] * 0.02, "y": boxes[0]["height"] * 0.5})
    names = [page.locator(f".st-key-{side}_weights .row-name") for side in ("a", "b")]
    expect(names[0]).to_be_visible()
    expect(names[1]).to_have_text(names[0].inner_text())
    expect(page.locator(".st-key-difference .row-name")).to_have_text(names[0].inner_text())
    page.mouse.move(1, 1)
    for name in names:
        expect(name).to_be_hidden()


def test_arrows_open_the_next_head_and_the_whole_map_is_on_the_screen(
    page: Page, server: Server
) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    open_app(page, server, "?model=gpt-classroom&layer=0&head=7")
    page.get_by_role("button", name="▸").locator("visible=true").first.click()
    expect(page.get_by_role("heading", name="L1·H0")).to_be_visible()
    wait_until_idle(page)
    page.get_by_role("button", name="◂").locator("visible=true").first.click()
    expect(page.get_by_role("heading", name="L0·H7")).to_be_visible()
    wait_until_idle(page)
    surface = page.locator(".st-key-weights .map[data-painted] .surface")
    expect(surface).to_be_in_viewport(ratio=1)


def test_what_is_typed_never_runs_and_is_never_logged(page: Page, server: Server) -> None:
    open_app(page, server)
    secret = "zebra-secret-4711"
    attack = (
        f'</script><img src=x onerror="alert(1)"> <b>{secret}</b> <a href="javascript:alert(2)">'
    )
    for model in ("gpt-classroom", "bert-classroom", "t5-classroom"):
        open_app(page, server, f"?model={model}")
        type_text(page, attack)
        assert page.locator("img[src=x]").count() == 0
        assert page.locator("a[href^=javascript]").count() == 0
        assert page.locator(".stException").count() == 0
        assert secret not in page.url
    assert secret not in server[1].read_text(errors="replace")


def test_a_wrong_model_name_loses_no_text(page: Page, server: Server) -> None:
    open_app(page, server)
    type_text(page, TEXT)
    model = page.get_by_label("Model", exact=True).first
    model.click()
    model.fill("/etc/passwd")
    model.press("Enter")
    expect(page.get_by_text("its model folders only")).to_be_visible()
    model.click()
    model.fill("gpt-classroom")
    model.press("Enter")
    expect(page.get_by_label("Text", exact=True)).to_have_value(TEXT)


def test_a_click_on_a_row_follows_its_token(page: Page, server: Server) -> None:
    open_app(page, server, "?model=gpt-classroom&layer=1&head=1")
    type_text(page, TEXT)
    stack = attnviz.capture(attnviz.load("gpt-classroom"), TEXT)["self"]
    n = len(stack.query_tokens)
    page.mouse.click(*place(page, 4, 1, n, n))
    label = stack.query_tokens.labels[4].lstrip("·")
    expect(page.get_by_text(re.compile(f"{label}. looks at")).first).to_be_visible()
    chip = page.locator(".strip .chip").nth(4)
    expect(chip).to_have_attribute("aria-pressed", "true")


COUNT_COPIES = """() => {
  const found = {
    link: () => [...document.querySelectorAll("button")]
      .filter((one) => one.innerText.includes("Share this view")).length,
    map: () => document.querySelectorAll(".st-key-weights").length,
    strip: () => document.querySelectorAll(".st-key-token_strip").length,
  };
  window.most = {};
  const count = () => {
    for (const [name, number] of Object.entries(found)) {
      window.most[name] = Math.max(window.most[name] ?? 0, number());
    }
  };
  count();
  new MutationObserver(count).observe(document.body, { childList: true, subtree: true });
}"""


def test_nothing_is_shown_twice_while_a_new_text_is_read(page: Page, server: Server) -> None:
    open_app(page, server, "?model=gpt-classroom")  # an example: its hint goes with its text
    page.evaluate(COUNT_COPIES)
    type_text(page, TEXT)
    type_text(page, f"{TEXT} on a")
    type_text(page, TEXT)  # known: nothing to wait for
    assert page.evaluate("window.most") == {"link": 1, "map": 1, "strip": 1}


@pytest.mark.parametrize("where", ["", "induction"])
def test_figures_follow_the_theme(page: Page, server: Server, where: str) -> None:
    """Without a click, and as often as it changes."""
    page.emulate_media(color_scheme="light")
    open_app(page, server, f"{where}?model=gpt-classroom")
    for scheme in ("light", "dark", "light"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        color = palette(scheme).text  # type: ignore[arg-type]
        page.wait_for_function(
            "color => [...document.querySelectorAll('.js-plotly-plot')].every("
            "plot => plot._fullLayout.font.color === color)",
            arg=color,
        )
    wait_until_idle(page)


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_pictures_download(page: Page, server: Server, ending: str, tmp_path: Path) -> None:
    open_app(page, server)
    button = page.get_by_role("button", name=f"Save the picture as {ending.upper()}").last
    with page.expect_download() as waiting:
        button.click()
    path = tmp_path / f"picture.{ending}"
    waiting.value.save_as(path)
    start = path.read_bytes()[:400]
    assert start.startswith(b"\x89PNG") if ending == "png" else b"<svg" in start
    assert waiting.value.suggested_filename.endswith(ending)


def test_tables_download_as_csv(page: Page, server: Server, tmp_path: Path) -> None:
    open_app(page, server, "?model=gpt-classroom&layer=1&head=1")
    type_text(page, TEXT)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Weights as CSV").click()
    path = tmp_path / "weights.csv"
    waiting.value.save_as(path)
    lines = path.read_text("utf-8-sig").splitlines()
    stack = attnviz.capture(attnviz.load("gpt-classroom"), TEXT)["self"]
    assert len(lines) == 1 + len(stack.query_tokens)
    last = [float(number) for number in lines[-1].split(",")[-len(stack.key_tokens) :]]
    assert last == pytest.approx(stack.weights(1, 1)[-1].tolist(), abs=SAME)


def test_the_first_zoom_into_a_long_text_stays(page: Page, server: Server) -> None:
    open_app(page, server, "?model=gpt-classroom&layer=1&head=5")
    type_text(page, "The little fox ran into the dark forest. " * 22)
    # For a moment of a rerun Streamlit keeps an earlier copy of an element, hidden.
    where = page.locator(".st-key-weights .where").locator("visible=true")
    whole = where.inner_text()
    page.locator(".st-key-weights [data-zoom=in]").click()
    expect(where).not_to_have_text(whole)
    wait_until_idle(page)
    page.wait_for_timeout(500)
    wait_until_idle(page)
    expect(where).to_contain_text("single cells")
    expect(where).not_to_have_text(whole)
