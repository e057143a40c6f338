"""Texts of lessons: complete, short sentences, and errors that name what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from attnviz.errors import InputError
from attnviz.lessons import LESSON_NUMBERS, Lesson, Scene, Step, lessons, parse_lesson, scenes_of
from attnviz.lessons.lesson_reader import PICTURES, TEXTS
from attnviz.ui.components.lesson_stage import STYLES, Place, pack_lesson
from tests.lessons.given import given

ASSETS = Path(__file__).parents[2] / "attnviz/ui/components/assets/lesson"
LONGEST = 20  # words of a sentence

BROWSER = {"whole", "zeroed"}
"""Arrays that the browser computes."""

COMPUTED = {"highest", "sum", "share", "rest", "left", "sink", "temperature", "moved"}
"""Numbers that the browser computes in a step with `compute`: no value may have their names."""

every_lesson = pytest.mark.parametrize("lesson", lessons(), ids=lambda one: one.name)


def texts(lesson: Lesson) -> list[str]:
    return [lesson.title, lesson.point, *(text for step in lesson.steps for text in of_step(step))]


def of_step(step: Step) -> list[str]:
    strings = [step.title, step.question, step.task, step.reveal, *step.keep]
    return [
        *strings,
        step.misconception.wrong,
        step.misconception.right,
        step.change.get("label", ""),
    ]


def sentences(text: str) -> list[str]:
    plain = re.sub(r"\[\[(.*?)\|.*?\]\]", r"\1", text)
    plain = re.sub(r"\{[^{}]*\}", "number", plain)
    return re.split(r"(?<=[.!?])\s+", plain)


@every_lesson
def test_sentences_are_short(lesson: Lesson) -> None:
    long = [one for text in texts(lesson) for one in sentences(text) if len(one.split()) > LONGEST]
    assert long == []


def test_a_long_sentence_would_be_found() -> None:
    assert max(len(one.split()) for one in sentences("word " * 21 + ". End.")) > LONGEST
    assert sentences("One [[two|score:top]]. Three {a@b}!") == ["One two.", "Three number!"]


def test_lessons_are_in_order_and_have_numbers() -> None:
    numbers = [one.number for one in lessons()]
    assert numbers == sorted(set(numbers))
    assert {one.name for one in lessons()} == set(LESSON_NUMBERS)


@every_lesson
def test_every_step_has_a_scene_with_the_places_and_arrays_it_names(lesson: Lesson) -> None:
    scenes = scenes_of(lesson, given(lesson))
    assert pack_lesson(lesson, scenes, Place(lesson.name))
    assert set(scenes) == {step.name for step in lesson.steps}
    for step in lesson.steps:
        scene = scenes[step.name]
        known = {*scene.places, *scene.values}
        linked = re.findall(r"\[\[.*?\|\w+:([\w-]+)\]\]", " ".join(of_step(step)))
        assert all(place.isdecimal() or place in known | {"all"} for place in linked), linked
        assert linked, f"{step.name}: no word is linked with the picture"
        assert not (step.show.get("compute") and COMPUTED & set(scene.values))
        computed = BROWSER if step.show.get("compute") else set()
        for column in step.show.get("columns", ()):
            assert column["array"] in {*scene.arrays, *computed}
        assert step.misconception.wrong and step.misconception.right and step.reveal
        assert step.question and step.task and step.formula


def number_at(scene: Scene, what: float | str) -> float:
    """Return a number, or the value or place of this name."""
    if not isinstance(what, str):
        return what
    named = scene.places.get(what, scene.values.get(what))
    assert isinstance(named, (int, float)), what
    return named


def ends_and_numbers(step: Step, scene: Scene) -> tuple[float, float, list[float]]:
    """Return the ends of a handle's line or of a curve, and the numbers between them."""
    frame = int(number_at(scene, step.predict.get("at", {}).get("frame", 0)))
    name, _, place = step.predict["of"].partition("@")
    if step.predict["kind"] == "curve":
        low, high = (number_at(scene, step.show[end]) for end in ("low", "high"))
        numbers = scene.arrays[name]
    else:
        low, high = (number_at(scene, step.predict[end]) for end in ("from", "to"))
        shown = scene.arrays[name] if place else scene.values.get(name, low)
        framed = np.ndim(shown) == (2 if place else 1)
        numbers = np.asarray(shown)[frame] if framed else np.asarray(shown)
        numbers = numbers[int(number_at(scene, place))] if place else numbers
    return low, high, [float(one) for one in np.ravel(numbers) if np.isfinite(one)]


@every_lesson
def test_a_guess_can_reach_the_truth(lesson: Lesson) -> None:
    scenes = scenes_of(lesson, given(lesson))
    for step in lesson.steps:
        if step.predict["kind"] in ("number", "curve"):
            low, high, numbers = ends_and_numbers(step, scenes[step.name])
            assert low < high
            assert low <= min(numbers) and max(numbers) <= high, step.name


def test_every_kind_of_picture_is_a_module_of_the_component() -> None:
    assert {path.stem for path in ASSETS.glob("*.js")} >= set(PICTURES)


def test_every_style_sheet_is_loaded() -> None:
    sheets = {path.stem for path in (ASSETS / "styles").glob("*.css")}
    assert sorted(sheets) == sorted(STYLES)
    assert set(PICTURES) <= sheets
    long = [path for path in ASSETS.rglob("*.css") if len(path.read_text().splitlines()) > 300]
    assert not long


def test_unknown_and_missing_fields_are_refused() -> None:
    text = (TEXTS / "softmax.toml").read_text("utf-8")
    assert parse_lesson("softmax", text).steps[0].name == "twice"
    for old, new, said in (
        ('picture = "bars"', 'picture = "film"', "film"),
        ("number = 5", "", "number"),
        ("number = 5", "number = 5\ncolour = 1", "colour"),
        ('name = "shift"\ntitle', 'name = "twice"\ntitle', "different names"),
        ('kind = "drag"', 'kind = "shout"', "shout"),
        ("[[step]]", "[[step", "cannot be read"),
    ):
        with pytest.raises(InputError, match=said):
            parse_lesson("softmax", text.replace(old, new, 1))
