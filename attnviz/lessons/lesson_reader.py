"""Reading of the texts of lessons: one TOML file per lesson, checked when it is read.

The schema is in docs/how-to/write-a-lesson.md.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from attnviz.errors import InputError
from attnviz.lessons.phrases.phrase_checks import checked_phrases
from attnviz.lessons.phrases.phrase_table import LESSON_PHRASES, keys

__all__ = ["PICTURES", "PREDICTIONS", "Lesson", "Misconception", "Step", "lessons", "parse_lesson"]

TEXTS = Path(__file__).parent / "texts"

ENGINE = "engine"
"""Stem of the file with the phrases of all lessons."""

PICTURES = ("arrows", "bars", "curve", "dots", "matrix", "thumbs", "ticks")
"""Kinds of pictures; each is a module of the component `lesson`."""

PREDICTIONS = (
    *("bars", "heights", "score", "pick", "names", "number", "curve", "cell", "paint", "point"),
    "ticks",
)
"""Ways to predict: drag bars that sum to 1, or any bars, or one score; click a row or a map; give
names to maps; drag a handle on a line; draw a curve; click a cell; paint cells; set a
point; tick cells."""

FORMS = ("sentence", "phrases", "groups", "repeated")
"""What a student writes: a sentence; phrases that end with one word; sentences with one word in two
meanings; a text that the model reads twice."""

CHANGES = ("slider", "choice", "drag", "hide", "tips", "map")
"""What can be changed after the prediction."""


@dataclass(frozen=True)
class Misconception:
    """Sentence that is often heard and wrong, and what is right."""

    wrong: str
    right: str


@dataclass(frozen=True)
class Step:
    """Step of a lesson.

    Attributes:
        name: in links; also the name of the step's scene.
        title: what the step is about.
        question: what the student predicts.
        task: how to make the prediction.
        picture: one of `PICTURES`.
        show: options of the picture.
        start: controls before the prediction.
        predict: what is predicted, and the controls at which it is true.
        change: the one thing to change afterwards.
        formula: with placeholders for the current numbers.
        reveal: what the truth shows.
        misconception: one for the step.
        keep: two sentences to remember.
    """

    name: str
    title: str
    question: str
    task: str
    picture: str
    formula: str
    reveal: str
    misconception: Misconception
    keep: tuple[str, str]
    predict: Mapping[str, Any]
    change: Mapping[str, Any]
    show: Mapping[str, Any] = field(default_factory=dict)
    start: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lesson:
    """Texts and settings of a lesson.

    Attributes:
        name: the file's stem; in links, and the key of the lesson's numbers.
        number: place in the order of the lessons.
        title: in the menu.
        point: what the lesson shows, in one sentence.
        sentence: what the model reads at first.
        model: name of the model at first.
        head: layer and head at first.
        families: families of models with which the lesson works.
        choose_head: whether layer and head can be chosen.
        choose_sentence: whether the student's sentence can take the place of `sentence`.
        steps: in their order.
        form: what the student writes, one of `FORMS`.
        random: whether some of its numbers are drawn at random.
        phrases: what its scenes put numbers and tokens into, by the keys of `LESSON_PHRASES`.
    """

    name: str
    number: int
    title: str
    point: str
    sentence: str
    model: str
    head: tuple[int, int]
    families: tuple[str, ...]
    choose_head: bool
    choose_sentence: bool
    steps: tuple[Step, ...]
    form: str = "sentence"
    random: bool = False
    phrases: Mapping[str, str] = field(default_factory=dict)


@cache
def lessons() -> tuple[Lesson, ...]:
    """Return all lessons in their order.

    Raises:
        InputError: as `parse_lesson`.
    """
    files = [path for path in TEXTS.glob("*.toml") if path.stem != ENGINE]
    read = [parse_lesson(path.stem, path.read_text("utf-8")) for path in files]
    return tuple(sorted(read, key=lambda lesson: lesson.number))


def parse_lesson(name: str, text: str) -> Lesson:
    """Return a lesson from the text of its file.

    Raises:
        InputError: no TOML; a field is missing, unknown or of another type; an unknown kind of
            picture, prediction or change; two steps with one name; a phrase is missing, not
            needed, or has other placeholders.
    """
    try:
        fields = tomllib.loads(text)
        steps = tuple(_step(name, one) for one in fields.pop("step"))
        lesson = Lesson(
            name=name,
            steps=steps,
            head=_pair(fields.pop("head")),
            families=tuple(fields.pop("families", ("encoder", "decoder"))),
            choose_head=bool(fields.pop("choose_head", True)),
            choose_sentence=bool(fields.pop("choose_sentence", True)),
            phrases=checked_phrases(fields.pop("phrases", {}), keys(LESSON_PHRASES.get(name, ()))),
            **fields,
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"the lesson {name} cannot be read: {error}") from error
    if lesson.form not in FORMS:
        raise InputError(
            f"the lesson {name} has the form {lesson.form!r}; possible are {', '.join(FORMS)}"
        )
    names = [step.name for step in lesson.steps]
    if not names or len(set(names)) < len(names):
        raise InputError(f"the lesson {name} needs steps with different names, not {names}")
    return lesson


def _step(lesson: str, fields: dict[str, Any]) -> Step:
    misconception = Misconception(**fields.pop("misconception"))
    first, second = fields.pop("keep")
    step = Step(misconception=misconception, keep=(first, second), **fields)
    for what, kind, kinds in (
        ("picture", step.picture, PICTURES),
        ("prediction", step.predict["kind"], PREDICTIONS),
        ("change", step.change["kind"], CHANGES),
    ):
        if kind not in kinds:
            raise InputError(
                f"step {step.name} of the lesson {lesson} has the {what} {kind!r}; "
                f"possible are {', '.join(kinds)}"
            )
    return step


def _pair(numbers: list[int]) -> tuple[int, int]:
    layer, head = numbers
    return int(layer), int(head)
