"""Handouts: pictures show the numbers of their step, and no answer is beside the questions."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from attnviz.lessons import Lesson, Scene, lessons, scenes_of
from attnviz.lessons.lesson_reader import Step
from attnviz.ui.components.lesson_stage import Place, pack_lesson
from attnviz.written_numbers import decimals
from tests.browser.test_translation import SITE, serve
from tests.lessons.given import given

pytestmark = pytest.mark.browser

GREYS = 24
PRINT = """async (data) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const { handout } = await import("/c/attnviz.lesson/lesson/handout.js");
  const { decode } = await import("/c/attnviz.lesson/lesson/sent_lesson.js");
  return handout(decode(bytes));
}"""

DRAWN = """(name) => [".first", ".second"].map((sheet) => {
  const figure = document.querySelector(`${sheet} figure[data-step=${name}]`);
  const all = (what, of = figure) => [...of.querySelectorAll(what)];
  const sides = (one, ...names) => names.map((side) => Number(one.getAttribute(side)));
  const shift = (one) => one.getAttribute("transform").match(/[-.\\d]+/g).map(Number);
  return {
    bars: all("[data-array]:has(rect)").map((cell) => ({
      of: cell.dataset.array,
      text: cell.previousSibling.textContent,
      track: Number(cell.querySelector("svg").getAttribute("width")),
      bar: cell.querySelector(".bar") ? sides(cell.querySelector(".bar"), "x", "width") : null,
    })),
    ticks: all(".tick-table td:not(.label)").map((cell) => cell.textContent),
    lines: all(".curve-line").map((one) => [one.dataset.array, one.getAttribute("d")]),
    levels: all("figure > svg > text[text-anchor=end], .beside > svg > text[text-anchor=end]")
      .filter((one) => one.getAttribute("x") === "26")
      .map((one) => [one.textContent, Number(one.getAttribute("y")) - 3]),
    cells: all(".cell").map((one) => [Number(one.dataset.at), one.textContent]),
    maps: all(".small-map").map((map) => ({
      side: Number(map.querySelector("rect").getAttribute("width")),
      paths: all("path", map).map((one) => [Number(one.dataset.grey), one.getAttribute("d")]),
    })),
    arrows: all(".arrow-line").map((one) => sides(one, "x1", "y1", "x2", "y2")),
    output: all(".output-line").map((one) => sides(one, "x1", "y1", "x2", "y2")),
    spots: all(".spot").map(shift),
    border: all(".border").length,
    below: all(".below").map((one) => one.textContent),
    truths: all(".truth").length,
    number: all(".truth-number").map((one) => one.textContent),
  };
})"""
"""What the pictures of a step show, before and after the prediction."""


@cache
def numbers_of(name: str) -> tuple[Lesson, Mapping[str, Scene]]:
    lesson = next(one for one in lessons() if one.name == name)
    return lesson, scenes_of(lesson, given(lesson))


def handout(page: Page, lesson: Lesson, scenes: Mapping[str, Scene]) -> str:
    page.set_default_timeout(20_000)
    page.route(f"{SITE}/**", serve)
    page.goto(SITE)
    data = base64.b64encode(pack_lesson(lesson, scenes, Place(lesson.name))).decode()
    return str(page.evaluate(PRINT, data))


def resolved(scene: Scene, what: Any) -> Any:
    if isinstance(what, Mapping):
        return {scene.places.get(key, key): resolved(scene, one) for key, one in what.items()}
    if isinstance(what, list | tuple):
        return [resolved(scene, one) for one in what]
    return scene.places.get(what, scene.values.get(what)) if isinstance(what, str) else what


def softmax(scene: Scene, controls: Mapping[str, Any]) -> dict[str, np.ndarray]:
    sent = np.array(scene.arrays["scores"], float)
    for at, score in controls.get("scores", {}).items():
        sent[at] = score
    hidden = [int(one) for one in controls.get("hidden", [])]
    scores = sent + controls.get("shift", 0)
    scores[hidden] = -np.inf

    def weights(of: np.ndarray) -> np.ndarray:
        sink = controls.get("sink", -np.inf)
        scaled = np.append(of, sink) / controls.get("temperature", 1)
        powers = np.exp(scaled - scaled.max())
        return np.asarray(powers[:-1] / powers.sum())

    zeroed = weights(sent)
    zeroed[hidden] = 0
    highest = np.maximum.accumulate(scores)
    sums = [np.exp(scores[: at + 1] - highest[at]).sum() for at in range(len(scores))]
    whole = weights(sent)
    shown = {"scores": scores, "weights": weights(scores), "whole": whole, "zeroed": zeroed}
    return {**shown, "highest_so_far": highest, "sums": np.array(sums)}


def shares(scene: Scene, controls: Mapping[str, Any]) -> dict[str, np.ndarray]:
    values = np.array(scene.arrays["values"], float)
    values[scene.places["shortened"]] *= controls.get("length", 1)
    weights, lengths = scene.arrays["weights"], np.linalg.norm(values, axis=1)
    return {
        "weights": weights,
        "lengths": lengths,
        "shares": weights * lengths / (weights @ lengths),
    }


def expected(scene: Scene, step: Step, name: str, controls: Mapping[str, Any]) -> np.ndarray:
    """Return the numbers of an array under the controls, computed here."""
    compute = {"softmax": softmax, "shares": shares}.get(step.show.get("compute", ""))
    computed = compute(scene, controls) if compute else {}
    if name in computed:
        return computed[name]
    array = np.asarray(scene.arrays[name])
    if step.show.get("frames") and array.ndim > 1:
        return array[round(controls.get("frame", 0))]
    return array


def rows_of(drawn: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [one for one in drawn["bars"] if one["of"] == name]


def check_bars(step: Step, scene: Scene, before: Any, after: Any, at: Any, begin: Any) -> None:
    for column in step.show["columns"]:
        name, digits = column["array"], column.get("decimals")
        numbers = expected(scene, step, name, at)
        for row, number in zip(rows_of(after, name), numbers, strict=True):
            if digits is not None:
                assert abs(float(row["text"].replace(",", "").replace("−", "-")) - number) <= (
                    0.5001 * 10**-digits + 1e-6 * abs(number)
                )
                assert len(row["text"]) == len(decimals(float(number), digits))
            if np.isfinite(number) and column.get("low") == 0 and "high" in column:
                share = min(1, number / column["high"])
                assert row["bar"][1] / row["track"] == pytest.approx(share, abs=0.002)
        predicted = column["array"] == step.predict.get("of") and step.predict["kind"] in (
            *("bars", "heights", "pick"),
        )
        known = len(numbers) if not predicted else step.predict.get("known", 0)
        known = 0 if column.get("after") else known
        first = expected(scene, step, name, begin)
        for place, row in enumerate(rows_of(before, name)):
            assert bool(row["text"]) == (place < known)
            assert (row["bar"] is not None) == (place < known and np.isfinite(first[place]))


def check_curves(step: Step, scene: Scene, before: Any, after: Any, at: Any) -> None:
    first, second = ((float(a.replace("−", "-")), y) for a, y in after["levels"][:2])
    lines = dict(after["lines"])
    for line in step.show["lines"]:
        numbers = expected(scene, step, line["array"], at)
        points = re.findall(r"[ML]([-.\d]+) ([-.\d]+)", lines[line["array"]])
        ys = np.array([float(y) for _, y in points])
        numbers = numbers[np.isfinite(numbers)]
        if "high" in line:  # drawn by the second axis
            low, high = step.show["low"], step.show["high"]
            numbers = low + (high - low) * numbers.clip(low, line["high"]) / line["high"]
        assert len(ys) == len(numbers)
        slope = (second[1] - first[1]) / (second[0] - first[0])
        places = first[1] + slope * (numbers - first[0])
        assert slope < 0
        # Pixels: paths and labels are rounded to 0.01.
        assert np.abs(ys - places).max() < 0.2 or ("high" not in line and outside(step, numbers))
    secret = {line["array"] for line in step.show["lines"] if line.get("after")}
    secret |= {step.predict["of"]} if step.predict["kind"] == "curve" else set()
    assert {name for name, _ in before["lines"]} == set(lines) - secret


def outside(step: Step, numbers: np.ndarray) -> bool:
    """Return whether a line leaves the picture, which cuts it at its ends."""
    return bool(numbers.max() > step.show["high"] or numbers.min() < step.show["low"])


def check_matrix(step: Step, scene: Scene, before: Any, after: Any, at: Any, begin: Any) -> None:
    digits = step.show.get("decimals", 1)
    for controls, drawn in ((at, after), (begin, before)):
        numbers = expected(scene, step, step.show["array"], controls).ravel()
        for place, text in drawn["cells"]:
            assert text in ("?", decimals(float(numbers[place]), digits))
    painted = step.predict["kind"] == "paint"
    visible = np.isfinite(expected(scene, step, step.show["array"], at)).ravel()
    if painted:
        visible &= scene.arrays[step.predict["of"]].ravel() > 0
    assert [place for place, _ in after["cells"]] == np.flatnonzero(visible).tolist()
    assert "?" not in dict(after["cells"]).values()
    columns = scene.arrays[step.show["array"]].shape[-1]
    place = resolved(scene, step.predict.get("place"))
    unknown = [one for one, text in before["cells"] if text == "?"]
    if step.predict.get("hide") == "row":
        assert unknown == [place * columns + one for one in range(columns)]
    elif step.predict.get("hide") == "cell":
        assert unknown == [place]
    else:
        assert unknown == []


def check_maps(maps: np.ndarray, drawn: Any) -> None:
    assert len(drawn["maps"]) == len(maps)
    for numbers, map_ in zip(maps, drawn["maps"], strict=True):
        rows, columns = numbers.shape
        got = np.zeros(numbers.shape, int)
        for grey, path in map_["paths"]:
            for x, y, wide in re.findall(r"M([.\d]+) ([.\d]+)h([.\d]+)", path):
                unit = map_["side"] / columns
                left, width = round(float(x) / unit), round(float(wide) / unit)
                got[round(float(y) * rows / map_["side"]), left : left + width] = grey
        right = GREYS * np.nan_to_num(numbers).clip(0, 1)
        assert np.abs(got - right).max() <= 0.5 + 1e-4


def check_ticks(step: Step, scene: Scene, before: Any, after: Any, at: Any) -> None:
    numbers = expected(scene, step, step.show["array"], at).ravel()
    yes = np.isfinite(numbers) & (np.nan_to_num(numbers) > step.predict.get("above", -np.inf))
    assert [text[0] == "☑" for text in after["ticks"]] == yes.tolist()
    for number, text in zip(numbers, after["ticks"], strict=True):
        if match := re.search(r"☑ ([\d.]+)%", text):
            assert float(match[1]) == pytest.approx(100 * number, abs=0.5001)
    assert set(before["ticks"]) == {"☐"}


def check_arrows(step: Step, scene: Scene, after: Any, at: Any) -> None:
    points = np.asarray(expected(scene, step, step.show["points"], at), float)
    lines = np.array(after["arrows"])
    moved = lines[:, 2:] - lines[:, :2]
    scale = np.abs(moved).max() / np.abs(points).max()
    assert moved == pytest.approx(points * [scale, -scale], abs=0.1)
    if "weights" in step.show:
        output = expected(scene, step, "weights", at) @ points
        x1, y1, x2, y2 = after["output"][0]
        assert [x2 - x1, y2 - y1] == pytest.approx([scale * output[0], -scale * output[1]], abs=0.1)


def check_dots(step: Step, scene: Scene, after: Any, at: Any) -> None:
    points = np.asarray(expected(scene, step, step.show["points"], at), float)
    spots = np.array(after["spots"])
    apart = points - points[0]
    scale = np.abs(spots - spots[0]).max() / np.abs(apart).max()
    assert spots - spots[0] == pytest.approx(apart * [scale, -scale], abs=0.1)
    assert after["border"] == 1


@pytest.mark.parametrize("name", [one.name for one in lessons()])
def test_pictures_show_the_numbers_of_their_step(page: Page, name: str) -> None:
    lesson, scenes = numbers_of(name)
    page.set_content(handout(page, lesson, scenes))
    for step in lesson.steps:
        scene = scenes[step.name]
        begin = resolved(scene, step.start)
        at = {**begin, **resolved(scene, step.predict.get("at", {}))}
        before, after = page.evaluate(DRAWN, step.name)
        if step.picture == "bars":
            check_bars(step, scene, before, after, at, begin)
        elif step.picture == "curve":
            check_curves(step, scene, before, after, at)
        elif step.picture == "matrix":
            check_matrix(step, scene, before, after, at, begin)
        elif step.picture == "ticks":
            check_ticks(step, scene, before, after, at)
        elif step.picture == "arrows":
            check_arrows(step, scene, after, at)
        elif step.picture == "dots":
            check_dots(step, scene, after, at)
        if "maps" in step.show:
            maps = np.asarray(scene.arrays[step.show["maps"]])
            frames = maps.ndim == 4
            check_maps(maps[round(at["frame"])] if frames else maps, after)
            check_maps(maps[round(begin.get("frame", 0))] if frames else maps, before)
        assert (len(after["number"]) == 1) == (step.predict["kind"] == "number")
        assert before["truths"] == 0 and before["number"] == before["output"] == []
        assert before["border"] == 0 and before["below"] == []


@pytest.mark.parametrize("name", [one.name for one in lessons()])
def test_a_handout_prints_on_two_pages_of_a4_and_of_letter(page: Page, name: str) -> None:
    lesson, scenes = numbers_of(name)
    page.set_content(handout(page, lesson, scenes))
    for paper in ("A4", "Letter"):
        pdf = page.pdf(format=paper)
        assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 2, paper
    assert page.evaluate(WIDER) == []


def test_a_text_of_many_tokens_prints_on_two_pages(page: Page) -> None:
    """Words that the models read as many tokens make tables of up to 48 rows."""
    words = "Extraordinary circumstances notwithstanding, the refrigerator malfunctioned again"
    for name in ("three_models", "efficient"):
        lesson = numbers_of(name)[0]
        scenes = scenes_of(lesson, given(lesson, words))
        page.set_content(handout(page, lesson, scenes))
        assert max(len(labels) for one in scenes.values() for labels in one.labels.values()) > 16
        for paper in ("A4", "Letter"):
            pdf = page.pdf(format=paper)
            assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 2, (name, paper)
        assert page.evaluate(WIDER) == []


WIDER = """() => [...document.querySelectorAll("figure")].filter((figure) =>
  [...figure.querySelectorAll("*")].some((one) => !one.closest("svg") || one.tagName === "svg"
    ? one.getBoundingClientRect().right > figure.getBoundingClientRect().right + 3 : false)
).map((figure) => figure.dataset.step)"""
"""Figures with a part that leaves them at the right."""


def test_labels_of_a_handout_stay_text_and_nothing_is_loaded(page: Page) -> None:
    evil = '"><img src=x onerror=alert(1)>'
    for name in ("similarity", "context", "softmax", "positions", "heads", "projections"):
        lesson, scenes = numbers_of(name)
        bad = {
            key: dataclasses.replace(
                scene,
                labels={axis: [evil, *texts[1:]] for axis, texts in scene.labels.items()},
            )
            for key, scene in scenes.items()
        }
        html = handout(page, lesson, bad)
        assert "<img" not in html and "<script" not in html
        assert not re.search(r"https?:|url\(|\b(src|href)=\"", html)
        page.set_content(html)
        assert page.locator("img").count() == 0
        assert page.get_by_text("onerror").count() > 0
