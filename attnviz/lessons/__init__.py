"""Lessons about attention: their texts as data, and the numbers of a real model for each step."""

from attnviz.lessons.lesson_numbers import LESSON_NUMBERS, scenes_of
from attnviz.lessons.lesson_reader import Lesson, Misconception, Step, lessons, parse_lesson
from attnviz.lessons.scene import LessonInput, Scene

__all__ = [
    "LESSON_NUMBERS",
    "Lesson",
    "LessonInput",
    "Misconception",
    "Scene",
    "Step",
    "lessons",
    "parse_lesson",
    "scenes_of",
]
