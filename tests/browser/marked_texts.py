"""Texts of the lessons with a sign before each word, as a translation that is easy to recognise."""

from __future__ import annotations

import re
from pathlib import Path

from attnviz.lessons.lesson_reader import TEXTS

__all__ = ["SIGN", "marked", "unmarked_words", "write_marked_texts"]

SIGN = "§"

TEXT_KEYS = (
    *("title", "point", "question", "task", "formula", "reveal", "wrong", "right", "keep"),
    *("label", "unit", "axis_title", "limit_title", "absent"),
)
"""Fields of a lesson that a reader sees; a table of phrases has nothing else."""

_FIELD = re.compile(rf'\b({"|".join(TEXT_KEYS)}) = (\[.*\]$|"(?:[^"\\]|\\.)*")', re.M)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_CODE = re.compile(r"(\{[^{}]*\}|\|\w+:[\w-]+\]\]|<br>)")
_WORD = re.compile(r"[^\W\d_]{2,}")


def marked(text: str) -> str:
    """Return a text with the sign before each word; placeholders and markup stay."""
    parts = _CODE.split(text)
    return "".join(
        part if at % 2 else _WORD.sub(lambda word: SIGN + word[0], part)
        for at, part in enumerate(parts)
    )


def write_marked_texts(folder: Path) -> None:
    """Write the marked texts of all lessons and of the engine into a folder."""
    for path in TEXTS.glob("*.toml"):
        head, *tables = re.split(r"(?m)^(?=\[)", path.read_text("utf-8"))
        changed = [_marked_table(table) for table in (head, *tables)]
        (folder / path.name).write_text("".join(changed), "utf-8")


def _marked_table(table: str) -> str:
    if re.match(r"\[(phrases|browser)\]", table):
        return _STRING.sub(lambda text: marked(text[0]), table)
    return _FIELD.sub(
        lambda field: f"{field[1]} = {_STRING.sub(lambda text: marked(text[0]), field[2])}", table
    )


def unmarked_words(text: str) -> list[str]:
    """Return the words of a text that have no sign."""
    return re.findall(
        rf"(?<![^\W\d_]){_WORD.pattern}", re.sub(rf"{SIGN}{_WORD.pattern}", " ", text)
    )
