"""Phrases by lesson and key."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from functools import cache

from attnviz.errors import InputError
from attnviz.lessons import lesson_reader
from attnviz.lessons.phrases.browser_phrases import BROWSER_PHRASES
from attnviz.lessons.phrases.phrase_checks import checked_phrases
from attnviz.lessons.phrases.phrase_table import SHARED_PHRASES, keys

__all__ = ["EngineTexts", "engine_texts", "phrases_of", "read_engine_texts", "shared_phrase"]

EngineTexts = Mapping[str, Mapping[str, str]]


def phrases_of(lesson: str) -> Callable[..., str]:
    """Return a function that takes the key of a phrase and the values of its placeholders."""

    def phrase(key: str, /, **values: object) -> str:
        read = next(one for one in lesson_reader.lessons() if one.name == lesson)
        return read.phrases[key].format(**values)

    return phrase


def shared_phrase(key: str, /, **values: object) -> str:
    """Return a phrase of all lessons with values in its placeholders."""
    return engine_texts()["phrases"][key].format(**values)


@cache
def engine_texts() -> EngineTexts:
    """Return the texts of all lessons: `phrases` of scenes, and those of the `browser`.

    Raises:
        InputError: as `read_engine_texts`.
    """
    return read_engine_texts(
        (lesson_reader.TEXTS / f"{lesson_reader.ENGINE}.toml").read_text("utf-8")
    )


def read_engine_texts(text: str) -> EngineTexts:
    """Return the texts of all lessons from the text of their file.

    Raises:
        InputError: no TOML; a phrase is missing, not needed, or has other placeholders.
    """
    needed = {"phrases": keys(SHARED_PHRASES), "browser": BROWSER_PHRASES}
    try:
        tables = tomllib.loads(text)
        if tables.keys() != needed.keys():
            raise ValueError(f"it needs the tables {', '.join(needed)}, not {', '.join(tables)}")
        return {name: checked_phrases(tables[name], needed[name]) for name in needed}
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise InputError(f"the texts of the lessons' engine cannot be read: {error}") from error
