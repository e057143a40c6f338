"""Inputs of lessons for the tests."""

from __future__ import annotations

from functools import cache

from transformers import PreTrainedModel

import attnviz
from attnviz.captures.forward_pass import capture
from attnviz.lessons import Lesson, LessonInput, lessons
from attnviz.lessons.head_row import MOST_TOKENS
from attnviz.models import twin
from attnviz.types import Head

load = cache(attnviz.load)


def eager(name: str) -> PreTrainedModel:
    """Return a model's network with the library's eager attention; the loaded one stays."""
    network = twin(load(name).network)
    network.set_attn_implementation("eager")
    return network


def lesson(name: str) -> Lesson:
    """Return a lesson by its name."""
    return next(one for one in lessons() if one.name == name)


def given(
    one: Lesson, sentence: str = "", model: str = "", head: Head | None = None
) -> LessonInput:
    """Return the input of a lesson as the page makes it."""
    loaded = load(model or one.model)
    read = capture(loaded, sentence or one.sentence, cut=True, limit=MOST_TOKENS)
    kind = next(iter(loaded.info.heads))
    return LessonInput(read, head or Head(kind, *one.head), load)
