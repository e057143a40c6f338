"""Look of a figure: labels literal, whole, and apart from each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from attnviz import views
from tests.views.samples import HOSTILE, INDUCTION, make_attention, make_tokens

pytestmark = pytest.mark.browser

LABELS = """axis => [...document.querySelectorAll(`#figure .${axis}tick text`)].map(text => {
    const box = text.getBoundingClientRect();
    return {text: text.textContent, left: box.left, right: box.right,
            top: box.top, bottom: box.bottom};
})"""


def draw(count, **options):
    weights, scores = make_attention(count)
    tokens = make_tokens(count)
    return views.draw_weights(weights, tokens, tokens, scores=scores, **options)


def ready(page):
    page.wait_for_selector("body[data-ready=yes]", state="attached")
    return page


def overlaps(boxes, first, second):
    boxes = sorted(boxes, key=lambda box: box[first])
    return [
        (one["text"], two["text"])
        for one, two in itertools.pairwise(boxes)
        if two[first] < one[second] - 1.5
    ]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("count", [10, 40, 120])
def test_labels_are_readable(open_page, figure_html, count, width):
    page = ready(open_page(figure_html(draw(count, title="L1·H2")), width=width))
    columns, rows = page.evaluate(LABELS, "x"), page.evaluate(LABELS, "y")
    assert not overlaps(columns, "left", "right")
    assert not overlaps(rows, "top", "bottom")
    if count <= 40:
        assert len(rows) == count
        if width == 1280:
            assert len(columns) == count
    assert len(rows) >= 20 or count == 10
    assert len(columns) >= 10
    frame = page.locator("#figure").bounding_box()
    for box in (*columns, *rows):
        assert box["left"] >= frame["x"] - 1, box
        assert box["right"] <= frame["x"] + frame["width"] + 1, box
        assert box["top"] >= frame["y"] + 20, "below the title"
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_outside_the_map_collides(open_page, figure_html, width):
    page = ready(open_page(figure_html(draw(40, scale="hide_sinks", title="t")), width=width))
    frame = page.locator("#figure").bounding_box()
    texts = page.evaluate(
        """() => [...document.querySelectorAll(
            '#figure .annotation-text, #figure .colorbar text, #figure .gtitle')].map(text => {
            const box = text.getBoundingClientRect();
            return {text: text.textContent, left: box.left, right: box.right,
                    top: box.top, bottom: box.bottom};
        })"""
    )
    assert len(texts) >= 6
    for at, one in enumerate(texts):
        assert one["left"] >= frame["x"] - 1, one
        assert one["right"] <= frame["x"] + frame["width"] + 1, one
        assert one["bottom"] <= frame["y"] + frame["height"] + 1, one
        for two in texts[at + 1 :]:
            apart = (
                one["right"] <= two["left"] + 1
                or two["right"] <= one["left"] + 1
                or one["bottom"] <= two["top"] + 2
                or two["bottom"] <= one["top"] + 2
            )
            assert apart, (one, two)


def hover(page, across, down):
    box = page.locator("#figure .nsewdrag").first.bounding_box()
    page.mouse.move(2, 2)
    page.wait_for_selector("#figure .hoverlayer text", state="detached")
    page.mouse.move(box["x"] + box["width"] * across, box["y"] + box["height"] * down)
    page.wait_for_selector("#figure .hoverlayer text")
    return bare(page.locator("#figure .hoverlayer").text_content())


def bare(text):
    return text.replace("\u2068", "").replace("\u2069", "")


def test_hostile_labels_are_shown_and_do_nothing(open_page, figure_html):
    tokens = make_tokens(len(HOSTILE), HOSTILE)
    weights, scores = make_attention(len(HOSTILE), causal=False)
    figure = views.draw_weights(weights, tokens, tokens, scores=scores, title=HOSTILE[0])
    page = ready(open_page(figure_html(figure)))
    rows = sorted(page.evaluate(LABELS, "y"), key=lambda box: box["top"])
    shown = [bare(one["text"]) for one in rows]
    assert shown[1:2] == ["<b>x</b>"]
    assert shown[3:] == list(HOSTILE[3:])
    assert page.locator("#figure .gtitle").text_content() == HOSTILE[0]
    assert page.locator("#figure a[href*=script], #figure img").count() == 0
    for row, label in enumerate(HOSTILE):
        said = hover(page, 0.5 / len(HOSTILE), (row + 0.5) / len(HOSTILE))
        assert f"{label} ({row})" in said
    assert page.seen == []


def test_hover_says_the_whole_name_and_the_place(open_page, figure_html):
    page = ready(open_page(figure_html(draw(10))))
    said = hover(page, 0.05, 0.35)
    assert "·antidisestablishmentarianism (3) → [CLS] (0)" in said
    assert "weight" in said
    assert "score" in said
    assert "masked" in hover(page, 0.95, 0.05)


def test_a_click_on_a_cell_selects_its_head(open_page, figure_html):
    figure = views.draw_head_map(np.random.default_rng(0).random((4, 8)), metric=INDUCTION)
    page = ready(open_page(figure_html(figure)))
    page.evaluate(
        "document.getElementById('figure').on('plotly_click',"
        " event => { window.clicked = event.points.map(point => point.customdata); })"
    )
    box = page.locator("#figure .nsewdrag").first.bounding_box()
    for layer, head in ((0, 0), (2, 5), (3, 7)):
        for corner in (0.15, 0.5, 0.85):
            page.mouse.click(
                box["x"] + box["width"] * (head + corner) / 8,
                box["y"] + box["height"] * (layer + corner) / 4,
            )
            page.wait_for_timeout(350)
            assert page.evaluate("window.clicked") == [[layer, head]]
