"""Search of source files and documents for words that are not plain."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Violation", "violations"]

WORDS = re.compile(
    r"\b(somebody|someone|nobody|anybody|anyone|everybody|everyone|whoever|told|asked|"
    r"says? so|said so|its own)\b",
    re.IGNORECASE,
)
"""Persons, and verbs that make a person of code."""

NAMES = re.compile(
    r"_?(Patient|Question|course|pace|inks?|holes|told|asked|own|some|found|made|mixed|used)"
)
"""Names of classes, functions and variables that do not say what the thing is."""

NAMES_OF_LIBRARIES = ("strategies as some", "some.")
"""Code in which such a name belongs to a library: hypothesis' strategies; an array's method."""

NOT_VERBS = re.compile(
    r"(after|all|an?|another|any|as|before|between|each|every|everything|for|he|how|if|in|it|its|"
    r"nothing|of|on|one|other|over|per|she|some|something|such|that|the|their|there|these|they|"
    r"this|those|to|until|what|when|where|whether|which|who|whoever|whose|why|with|within)\b",
    re.IGNORECASE,
)
"""First words of a docstring that is neither an instruction nor the name of a thing."""

NOT_CODE = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
"""Comments and quoted strings of JavaScript; in a template string the names are code."""

ALLOWED = (
    "Anna asked her brother whether he had seen the letter.",  # the numbers of a probe depend on it
    "Nobody in the village remembered who had built the bridge.",
)
"""Sentences of sample texts and of the screen that need one of the words."""


@dataclass(frozen=True)
class Violation:
    """Place and text of a word that is not plain."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def violations(path: Path, root: Path) -> list[Violation]:
    """Return the violations of a Python file, a script or a document, in order of lines."""
    text, name = path.read_text(encoding="utf-8"), str(path.relative_to(root))
    if path.suffix == ".js":
        numbered = [*_words(enumerate(text.splitlines(), 1)), *_script_names(text)]
    elif path.suffix != ".py":
        numbered = _words(enumerate(text.splitlines(), 1))
    else:
        numbered = [*_words(_prose(text)), *_names(text), *_beginnings(text)]
    return [Violation(name, line, what) for line, what in sorted(numbered)]


def _words(lines: Iterator[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the forbidden words of numbered lines."""
    return [
        (number, f"{match[0]!r} in: {line.strip()[:80]}")
        for number, line in lines
        if not any(sentence in line for sentence in ALLOWED)
        for match in WORDS.finditer(line)
    ]


def _prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of all comments and strings."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if kind in ("COMMENT", "STRING", "FSTRING_MIDDLE"):
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


def _names(source: str) -> list[tuple[int, str]]:
    """Return the private names of a file, one per line and name."""
    numbered = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and NAMES.fullmatch(token.string):
            code = token.line
            if not any(library in code for library in NAMES_OF_LIBRARIES):
                numbered.add((token.start[0], f"name {token.string!r} in: {code.strip()[:80]}"))
    return sorted(numbered)


def _script_names(source: str) -> list[tuple[int, str]]:
    """Return the private names of JavaScript, one per line and name."""
    code = NOT_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), source)
    numbered = {
        (number, f"name {word!r} in: {line.strip()[:80]}")
        for number, line in enumerate(code.splitlines(), 1)
        for word in re.findall(r"(?<![.\w$])[A-Za-z_$][\w$]*", line)
        if NAMES.fullmatch(word)
    }
    return sorted(numbered)


def _beginnings(source: str) -> list[tuple[int, str]]:
    """Return the docstrings whose first word is in `NOT_VERBS`."""
    numbered = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if getattr(node, "name", "").startswith("test_"):
                continue  # the docstring of a test is a statement
            text = ast.get_docstring(node)
            first = NOT_VERBS.match(text or "")
            if first:
                line = node.body[0].lineno
                numbered.append(
                    (line, f"docstring begins with {first[0]!r}: {text.splitlines()[0]}")
                )
    return numbered
