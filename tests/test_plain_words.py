"""Docstrings, comments, strings and names use plain words; see `tests/plain_words.py`.

Files in `CLEAN` have none of the words. The other folders have an upper limit each, which may only
be lowered; a folder whose limit is 0 belongs in `CLEAN`.
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

CLEAN = (
    "attnviz/attention/*",
    "attnviz/metrics/*",
    "attnviz/doctor/*",
    "attnviz/efficient/*",
    "attnviz/experiments/*",
    "attnviz/errors.py",
    "attnviz/findings.py",
    "attnviz/captures/summary.py",
    "attnviz/types.py",
    "attnviz/cli/*",
    "attnviz/models/*",
    "attnviz/ui/*",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/*",
    "app.py",
    "pages/*",
    "training/*",
    "benchmarks/*",
    "tests/app/*",
    "tests/browser/*",
    "tests/hostile/*",
    "tests/hub/*",
    "tests/models/*",
    "tests/training/*",
    "tests/efficient/*",
    "tests/engine/*",
    "tests/experiments/*",
    "tests/metrics/*",
    "tests/test_docstring_examples.py",
)
NOT_YET = (
    "attnviz/attention/residual/additions.py",
    "attnviz/attention/residual/parts.py",
    "attnviz/attention/sites.py",
    "attnviz/attention/stack/map_tiles.py",
    "tests/engine/test_additions.py",
    "tests/engine/test_other_senses.py",
)
"""Exceptions to `CLEAN`; they count in their folders."""

LIMITS: dict[str, int] = {
    "attnviz/attention": 2,
    "attnviz/captures": 2,
    "attnviz/monitor": 2,
    "attnviz/views": 35,
    "tests/doctor": 65,
    "tests/engine": 10,
    "tests/monitor": 33,
    "tests/views": 26,
}


def files() -> Iterator[str]:
    """Yield the Python files and documents that are searched."""
    for name in SEARCHED:
        paths = [ROOT / name] if (ROOT / name).is_file() else sorted((ROOT / name).rglob("*"))
        for path in paths:
            relative = path.relative_to(ROOT).as_posix()
            if path.suffix in (".py", ".md") and not _matches(relative, LEFT_OUT):
                yield relative


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _is_clean(name: str) -> bool:
    return _matches(name, CLEAN) and name not in NOT_YET


def _folder(name: str) -> str:
    """Return the first two parts of a path without its file name; the file name at the top."""
    return "/".join(name.split("/")[:-1][:2]) or name


def test_clean_files_have_plain_words_only() -> None:
    found = [one for name in files() if _is_clean(name) for one in violations(ROOT / name, ROOT)]
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize("folder", sorted({_folder(name) for name in files()}))
def test_other_folders_stay_below_their_limit(folder: str) -> None:
    found = [
        one
        for name in files()
        if _folder(name) == folder and not _is_clean(name)
        for one in violations(ROOT / name, ROOT)
    ]
    limit = LIMITS.get(folder, 0)
    assert len(found) <= limit, f"{len(found)} > {limit}:\n" + "\n".join(map(str, found))


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ('"""Return what nobody reads."""', 1),
        ("x = 1\n# as it was asked for", 2),
        ('x = f"the code says so: {1}"', 1),
        ("class Patient:\n    pass", 1),
        ("own = 1", 1),
        ('def f():\n    """The number of heads."""', 2),
        ('class A:\n    """What was recorded."""', 2),
    ],
)
def test_each_rule_finds_its_words(source: str, line: int, tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text(source)
    found = violations(file, tmp_path)
    assert [one.line for one in found] == [line], found


def test_plain_sentences_pass(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text(
        'def heads():\n    """Return the number of heads."""\n    return 1  # constant\n'
    )
    assert violations(file, tmp_path) == []
    document = tmp_path / "page.md"
    document.write_text("The doctor has whoever it told.")
    assert len(violations(document, tmp_path)) == 2
