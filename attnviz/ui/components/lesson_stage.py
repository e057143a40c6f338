"""Lesson in the browser: all vectors are sent once, and everything that moves is computed there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from attnviz.lessons import Lesson, Scene, lessons
from attnviz.lessons.phrases.named_phrases import engine_texts
from attnviz.ui.components.checked_reports import record
from attnviz.ui.components.plotly_map import CELL_WORDS, map_fields
from attnviz.ui.components.served_component import ServedComponent
from attnviz.views.maps.map_specification import effect_specification, weight_specification
from attnviz.views.style.kind_colors import kind_colors

__all__ = ["HIDEABLE", "Place", "lesson_stage", "pack_lesson"]

HIDEABLE = (
    "steps",
    "sentence",
    "change",
    "formula",
    "misconception",
    "keep",
    "reveal",
    "handout",
)
"""Parts of a step that a link can hide."""

MOST_VALUES = 24
"""Values of a step's controls that a link remembers."""

_AT = re.compile(r"((scores|hidden)\.\d{1,3}|tips\.\d{1,3}\.[01])")
"""Name of a control of one key, such as `scores.3`."""

STYLES = (
    *("frame", "controls", "texts", "links", "handles", "sentence", "change", "guess_line"),
    *("bars", "map_box", "matrix", "curve", "thumbs", "ticks", "dots", "arrows"),
    "hidden",
)
"""Style sheets of the component: the frame and its texts, the pictures, what a link hides."""

_stage = ServedComponent(
    "lesson",
    '<div class="lesson"></div>',
    folder="lesson",
    styles=["buttons", *(f"lesson/styles/{name}" for name in STYLES)],
)


@dataclass(frozen=True)
class Place:
    """Place in the lessons: lesson, step, and the values of its controls."""

    lesson: str
    step: str = ""
    values: Mapping[str, float] = dataclasses.field(default_factory=dict)


def lesson_stage(
    lesson: Lesson,
    scenes: Mapping[str, Scene],
    place: Place,
    *,
    following: str,
    hide: tuple[str, ...] = (),
    present: bool = False,
    key: str,
    on_place: Callable[[Place], None],
) -> None:
    """Show a lesson.

    Args:
        lesson: its texts.
        scenes: the numbers of each step.
        place: the step to begin with.
        following: name of the next lesson; empty after the last.
        hide: parts that are not shown, of `HIDEABLE`.
        present: large type.
        key: the widget's key.
        on_place: called with the place that the browser reports, before the run that it causes.
    """
    packed = pack_lesson(lesson, scenes, place, following=following, hide=hide, present=present)
    _stage(
        data=packed,
        key=key,
        default={"place": None},
        on_place_change=lambda: _report(key, on_place),
    )


def _report(key: str, on_place: Callable[[Place], None]) -> None:
    place = checked_place(record(st.session_state.get(key), "place"))
    if place is not None:
        on_place(place)


def checked_place(reported: Mapping[str, Any]) -> Place | None:
    """Return a reported place, or None of anything that is no place in the lessons.

    Values that are no finite numbers, or of no control, are left out.
    """
    lesson = next((one for one in lessons() if one.name == reported.get("lesson")), None)
    if lesson is None:
        return None
    step = next((one for one in lesson.steps if one.name == reported.get("step")), lesson.steps[0])
    controls = {step.change.get("name", "frame"), "frame", "shown"}
    values = {
        name: float(value)
        for name, value in list(record(reported, "values").items())[:MOST_VALUES]
        if isinstance(name, str)
        and (name in controls or _AT.fullmatch(name))
        and isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
    }
    return Place(lesson.name, step.name, values)


def pack_lesson(
    lesson: Lesson,
    scenes: Mapping[str, Scene],
    place: Place,
    *,
    following: str = "",
    hide: tuple[str, ...] = (),
    present: bool = False,
) -> bytes:
    """Return the bytes for the browser.

    They are the length of a JSON header (uint32), the header, and the numbers of all arrays as
    float32, little-endian. An array that several scenes share is sent once.
    """
    bodies: list[bytes] = []
    places: dict[int, dict[str, Any]] = {}
    count = 0

    def sent(array: np.ndarray) -> dict[str, Any]:
        nonlocal count
        if id(array) not in places:
            numbers = np.ascontiguousarray(array, "<f4")
            places[id(array)] = {"first": count, "shape": list(numbers.shape)}
            bodies.append(numbers.tobytes())
            count += numbers.size
        return places[id(array)]

    described = {
        step.name: {
            "labels": {name: list(labels) for name, labels in scenes[step.name].labels.items()},
            "values": {name: _plain(value) for name, value in scenes[step.name].values.items()},
            "places": dict(scenes[step.name].places),
            "arrays": {name: sent(array) for name, array in scenes[step.name].arrays.items()},
        }
        for step in lesson.steps
    }
    body = b"".join(bodies)
    texts = {
        "title": lesson.title,
        "point": lesson.point,
        "steps": [dataclasses.asdict(step) for step in lesson.steps],
    }
    content = json.dumps([texts, described], allow_nan=False).encode()
    header = {
        "identity": hashlib.sha256(content + body).hexdigest()[:16],
        "name": lesson.name,
        "lesson": texts,
        "scenes": described,
        "place": {"step": place.step, "values": dict(place.values)},
        "next": following,
        "hide": list(hide),
        "present": present,
        "maps": _maps(),
        "words": dict(engine_texts()["browser"]),
        "light": kind_colors("light"),
        "dark": kind_colors("dark"),
    }
    encoded = json.dumps(header, allow_nan=False).encode()
    encoded += b" " * (-len(encoded) % 4)
    return struct.pack("<I", len(encoded)) + encoded + body


def _maps() -> dict[str, dict[str, Any]]:
    """Return the descriptions of the maps of weights and of signed numbers.

    The words are those of `engine.toml`; tokens have no positions beside them, and the browser sets
    the ends of signed colours.
    """
    words = engine_texts()["browser"]
    weights = weight_specification(value=words["weight"])
    signed = effect_specification("", 1.0)
    shared = {
        "numbered": False,
        "missing": words["masked_cell"],
        "maskedCaption": f"▨ {words['masked_caption']}",
        "corner": words["map_corner"],
        "aside": [],
        "selected": None,
        "bare": False,
        "words": {name: words[f"map_{name}"] for name in CELL_WORDS},
    }
    return {
        "weights": {**map_fields(weights), **shared},
        "signed": {**map_fields(signed), **shared},
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: numbers of an array become a list."""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return float(value) if not float(value).is_integer() else int(value)
    return [_plain(one) for one in value]
