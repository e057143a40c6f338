"""Translate lessons by their TOML files alone: in marked texts no word is without a mark."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route

from attnviz.lessons import Lesson, Scene, lesson_reader, lessons, scenes_of
from attnviz.lessons.phrases.named_phrases import engine_texts
from attnviz.ui.components.lesson_stage import STYLES, Place, pack_lesson
from attnviz.ui.components.served_component import ASSETS
from tests.browser.marked_texts import marked, unmarked_words, write_marked_texts
from tests.browser.test_lessons import guess_wrongly, stage
from tests.lessons.given import given

SITE = "http://127.0.0.1:1"
FOLDERS = {"attnviz.lesson": ASSETS, "attnviz.vendor": ASSETS.parents[2] / "vendor"}

NAMES = {
    *("BERT", "GPT", "RoPE", "ALiBi", "Longformer", "BigBird", "Llama", "Mistral", "DeepSeek"),
    *(
        "Jamba",
        "gpt",
        "bert",
        "llama",
        "hybrid",
        "classroom",
        "CLS",
        "SEP",
        "endoftext",
        "pad",
        "cross",
    ),
}
"""Words that no translation changes: models, methods, special tokens, the kind of a head."""

TOKEN_AXES = (
    *("tokens", "sentence", "sentences", "keys", "words", "others", "sources", "reads", "writes"),
    "targets",
)
"""Labels that are tokens or words of the text."""

STYLE = "".join((ASSETS / f"lesson/styles/{name}.css").read_text("utf-8") for name in STYLES)
PAGE = f'<!doctype html><style>{STYLE}</style><div class="lesson"></div>'

SAYS = """() => {
  const root = document.querySelector(".lesson");
  const texts = [];
  const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    if (node.nodeType === Node.TEXT_NODE) {
      if (!node.parentElement.closest("style")) texts.push(node.nodeValue);
    } else for (const name of ["aria-label", "title", "aria-valuetext", "data-before"]) {
      if (node.hasAttribute(name)) texts.push(node.getAttribute(name));
    }
  }
  return texts;
}"""

OPEN = """async (data) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const lesson = await import("/c/attnviz.lesson/lesson/lesson.js");
  lesson.default({ data: bytes, parentElement: document.body, setStateValue() {} });
}"""

CELLS = """async (data) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const { decode } = await import("/c/attnviz.lesson/lesson/sent_lesson.js");
  const { describe } = await import("/c/attnviz.lesson/map_grids.js");
  const places = { rows: [3, 3], columns: [5, 5], exact: true, value: 0.5 };
  const cells = [places, { ...places, value: NaN }, { ...places, value: Infinity }];
  cells.push({ ...places, value: -Infinity }, { ...places, score: 2, rank: 1 });
  cells.push({ ...places, exact: false });
  return Object.values(decode(bytes).maps).flatMap((map) =>
    ["mean", "max"].flatMap((how) => cells.flatMap((cell) => describe({ ...map, how }, cell)))
  );
}"""
"""What is read out of cells of every kind: of masked and broken ones, and of bins."""

PRINT = """async (data) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const { handout } = await import("/c/attnviz.lesson/lesson/handout.js");
  const { decode } = await import("/c/attnviz.lesson/lesson/sent_lesson.js");
  const { body } = new DOMParser().parseFromString(handout(decode(bytes)), "text/html");
  const walk = document.createTreeWalker(body, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walk.nextNode()) texts.push(walk.currentNode.nodeValue);
  return texts;
}"""


@pytest.fixture(scope="module")
def translated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Read all texts from a folder in which every word has a mark."""
    folder, before = tmp_path_factory.mktemp("texts"), lesson_reader.TEXTS
    write_marked_texts(folder)
    for cached in (lessons, engine_texts):
        cached.cache_clear()
    lesson_reader.TEXTS = folder
    yield
    lesson_reader.TEXTS = before
    for cached in (lessons, engine_texts):
        cached.cache_clear()


def allowed_words(lesson: Lesson, scenes: Mapping[str, Scene]) -> set[str]:
    """Return names, words of the lesson's text, and tokens."""
    words = {*NAMES, *re.findall(r"[^\W\d_]+", lesson.sentence)}
    for scene in scenes.values():
        labels = [label for axis in TOKEN_AXES for label in scene.labels.get(axis, ())]
        values = [scene.values.get("token", ""), scene.values.get("other_word", "")]
        for text in (*labels, *values):
            if axis_text := str(text):
                words |= set(unmarked_words(axis_text)) if " " not in axis_text else set()
    return words


def cells_read_out(page: Page) -> list[str]:
    """Return what the line below each map of a step says of its first cell."""
    says = []
    for surface in stage(page).locator(".surface[tabindex='0']").all():
        surface.press("ArrowRight")
        says.append(stage(page).locator(".map-says").inner_text())
        assert says[-1]
    return says


def serve(route: Route) -> None:
    path = route.request.url.removeprefix(SITE)
    match = re.fullmatch(r"/c/([\w.]+)/(.+)", path)
    if not match:
        return route.fulfill(content_type="text/html", body=PAGE)
    file = Path(FOLDERS[match[1]], match[2])
    return route.fulfill(content_type="text/javascript", body=file.read_text("utf-8"))


@pytest.mark.parametrize("name", [one.name for one in lessons()])
def test_no_word_of_a_lesson_is_left_untranslated(page: Page, translated: None, name: str) -> None:
    lesson = next(one for one in lessons() if one.name == name)
    scenes = scenes_of(lesson, given(lesson))
    data = base64.b64encode(pack_lesson(lesson, scenes, Place(name))).decode()
    allowed = allowed_words(lesson, scenes)
    page.set_default_timeout(20_000)
    page.route(f"{SITE}/**", serve)
    page.goto(SITE)
    page.evaluate(OPEN, data)
    texts: list[str] = []
    for at, step in enumerate(lesson.steps):
        stage(page).locator(".dot").nth(at).click()
        texts += page.evaluate(SAYS)
        guess_wrongly(page, step)
        stage(page).locator(".main").click()
        page.wait_for_function("document.querySelector('.lesson').dataset.revealed === 'true'")
        page.wait_for_function("!document.querySelector('.lesson .distance').hidden")
        texts += page.evaluate(SAYS)
        texts += cells_read_out(page)
    texts += page.evaluate(PRINT, data)
    read_out = page.evaluate(CELLS, data)
    assert len(read_out) == 2 * 2 * 6 * 2
    texts += read_out
    left = {word: text for text in texts for word in unmarked_words(text) if word not in allowed}
    assert left == {}
    assert sum("§" in text for text in texts) > 30


def test_an_untranslated_word_would_be_found() -> None:
    text = "Drag the [[bar|weight:top]] of {name} to {share} nats."
    assert marked(text) == "§Drag §the [[§bar|weight:top]] §of {name} §to {share} §nats."
    assert unmarked_words("§Drag the §bar 3 L0·H1") == ["the"]
    assert json.loads(json.dumps(marked("e^(a)"))) == "e^(a)"
