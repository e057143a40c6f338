"""Layout of the package: unique file names, small folders, no import circles."""

from __future__ import annotations

import ast
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.slow_files import SLOW_FILES
from tests.test_architecture import FILES, ROOT, imports

MOST_FILES = 15
"""Modules in one folder, `__init__.py` left out."""


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    names = {}
    for path in FILES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts).removesuffix(".__init__")] = path
    return names


def test_no_two_files_share_a_name() -> None:
    counted = Counter(path.name for path in FILES if not path.name.startswith("__"))
    assert [name for name, count in counted.items() if count > 1] == []


def test_no_folder_is_crowded() -> None:
    counted = Counter(path.parent for path in FILES if path.name != "__init__.py")
    assert {str(one): count for one, count in counted.items() if count > MOST_FILES} == {}


def test_slow_files_exist() -> None:
    assert [name for name in sorted(SLOW_FILES) if not (ROOT / name).is_file()] == []


def imports_at_the_top(path: Path) -> list[str]:
    """Return the modules that are imported when the file is: not in functions, not for types."""
    tree = ast.parse(path.read_text("utf-8"))
    kept = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom, ast.Try))]
    return list(imports(path, ast.unparse(ast.Module(kept, [])))) if kept else []


def needed(known: dict[str, Path]) -> dict[str, set[str]]:
    """Return, for each module, the modules of the package that must exist before it."""
    before: dict[str, set[str]] = {}
    for name, path in known.items():
        before[name] = set()
        for module in imports_at_the_top(path):
            target = module
            while target and target not in known:
                target = target.rpartition(".")[0]
            # A package's own `__init__` collects its files: it comes after them.
            if target and target != name and not name.startswith(f"{target}."):
                before[name].add(target)
    return before


def test_there_is_no_import_circle() -> None:
    try:
        list(TopologicalSorter(needed(modules())).static_order())
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(error.args[1])}")


def test_a_circle_would_be_found() -> None:
    with pytest.raises(CycleError):
        list(TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())
    assert "attnviz.types" in needed(modules())["attnviz.views.maps.weight_map"]
