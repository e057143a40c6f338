"""Docstrings, comments, strings and names use plain words in every file of the project.

The rules are in `tests/plain_words.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.plain_words import violations

ROOT = Path(__file__).parent.parent
SEARCHED = (
    "attnviz",
    "pages",
    "training",
    "benchmarks",
    "docs",
    "tests",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "app.py",
)
LEFT_OUT = (
    "attnviz/vendor/*",
    "attnviz/models/classroom/*",
    "tests/plain_words.py",
    "tests/test_plain_words.py",
    "tests/vocabularies.py",  # sample texts: another word is another vocabulary, and other models
)


def files() -> Iterator[str]:
    """Yield the Python files, scripts and documents that are searched."""
    for name in SEARCHED:
        paths = [ROOT / name] if (ROOT / name).is_file() else sorted((ROOT / name).rglob("*"))
        for path in paths:
            relative = path.relative_to(ROOT).as_posix()
            if path.suffix in (".py", ".md", ".js") and not _matches(relative, LEFT_OUT):
                yield relative


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


@pytest.mark.parametrize("name", sorted(files()))
def test_files_have_plain_words_only(name: str) -> None:
    listed = violations(ROOT / name, ROOT)
    assert not listed, "\n".join(map(str, listed))


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ('"""Return what nobody reads."""', 1),
        ("x = 1\n# as it was asked for", 2),
        ('x = f"the code says so: {1}"', 1),
        ("class Patient:\n    pass", 1),
        ("own = 1", 1),
        ("for found in (1, 2):\n    pass", 1),
        ("def f(made: int) -> None:\n    pass", 1),
        ("class A:\n    mixed: int = 0", 2),
        ("import a\n\na.used = 1", 3),
        ('def f():\n    """The number of heads."""', 2),
        ('class A:\n    """What was recorded."""', 2),
    ],
)
def test_each_rule_finds_its_words(source: str, line: int, tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text(source)
    listed = violations(file, tmp_path)
    assert [one.line for one in listed] == [line], listed


def test_plain_sentences_pass(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text(
        'def heads():\n    """Return the number of heads."""\n    return 1  # constant\n'
    )
    assert violations(file, tmp_path) == []
    document = tmp_path / "page.md"
    document.write_text("The doctor has whoever it told.")
    assert len(violations(document, tmp_path)) == 2


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("// nobody reads this", 1),
        ("const a = 1;\nconst own = 2;", 2),
        ("function found(x) { return x; }", 1),
        ("/* two\n lines */ let made = 1;", 2),
        ('const text = "said so";', 1),
    ],
)
def test_each_rule_finds_its_words_in_scripts(source: str, line: int, tmp_path: Path) -> None:
    file = tmp_path / "file.js"
    file.write_text(source)
    listed = violations(file, tmp_path)
    assert [one.line for one in listed] == [line], listed


@pytest.mark.parametrize("source", ['const a = "own"; // found', "list.some(x => x)", "a.own = 1"])
def test_words_that_are_no_names_of_a_script_are_allowed(source: str, tmp_path: Path) -> None:
    file = tmp_path / "file.js"
    file.write_text(source)
    assert violations(file, tmp_path) == []
