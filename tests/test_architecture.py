"""Imports point one way, and torch stays out of what needs none of it."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import attnviz

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "attnviz"
PAGE_LINES = 100

NOUNS = {
    "types",
    "errors",
    "findings",
    "characters",
    "finite",
    "written_numbers",
    "sentences",
    "whole_files",
    "spreadsheets",
}
NOUNS |= {"removals", "word_lists"}
ENGINE = NOUNS | {"attention", "models", "captures", "metrics"}
MAY_IMPORT: dict[str, set[str]] = {
    "types": {"types", "errors"},
    "errors": set(),
    "characters": set(),
    "spreadsheets": set(),
    "whole_files": set(),
    "finite": set(),
    "written_numbers": set(),
    "sentences": set(),
    "findings": {"types", "errors", "findings"},
    "removals": {"types", "findings"},
    "word_lists": set(),
    "attention": NOUNS | {"attention"},
    "models": NOUNS | {"attention", "models"},
    "metrics": NOUNS | {"attention", "metrics"},
    "captures": ENGINE,
    "words": ENGINE | {"words"},
    "experiments": ENGINE | {"efficient", "experiments"},
    "doctor": ENGINE | {"doctor", "experiments", "words", "views", "__init__"},
    "lessons": ENGINE | {"efficient", "experiments", "lessons", "words"},
    "monitor": ENGINE | {"monitor"},
    "efficient": NOUNS | {"efficient"},
    "views": NOUNS | {"views"},
    "cli": ENGINE | {"doctor", "experiments", "words", "views", "ui", "cli", "__init__"},
    "__main__": {"cli"},
    "ui": ENGINE
    | {"doctor", "efficient", "experiments", "lessons", "words", "views", "ui", "vendor"},
    "vendor": {"vendor"},
    "__init__": ENGINE | {"words", "doctor", "monitor", "efficient", "experiments", "views"},
}
"""Which parts of the package a part may know. A part that is not here may not exist yet."""

THIRD_PARTY: dict[str, set[str]] = {
    "streamlit": {"ui", "cli"},  # cli serves the app
    "plotly": {"views", "ui"},
    "bertviz": {"views", "ui"},
    "transformers": {"attention", "models", "captures", "monitor", "experiments"},
    "huggingface_hub": {"models"},
    "torch": {
        "attention",
        "efficient",
        "models",
        "captures",
        "metrics",
        "doctor",
        "experiments",
        "lessons",
        "monitor",
        "ui",
    },
    "pandas": {"captures", "spreadsheets", "doctor", "monitor", "ui", "__init__"},
}
"""Who may import what comes from elsewhere; what is not here is free."""


def imports(path: Path, source: str | None = None) -> Iterator[str]:
    """Yield every module that a file imports, anywhere in it, also for types and in functions."""
    for node in ast.walk(ast.parse(source or path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                parent = ".".join(path.relative_to(ROOT).parts[: -node.level])
                yield f"{parent}.{node.module}" if node.module else parent
            elif node.module == "attnviz":
                yield from (f"attnviz.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


def part_of(path: Path) -> str:
    """Return the part of the package that a file belongs to: its folder, or the file's name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def wrong_imports(path: Path, source: str | None = None) -> list[str]:
    """Return the imports of a file that point the wrong way."""
    part, wrong = part_of(path), []
    for module in imports(path, source):
        top, _, rest = module.partition(".")
        if top == "attnviz":
            known = rest.split(".")[0]
            # `from attnviz import load` is the public face, and comes from the part behind it.
            known = HOME.get(known, known)
            if known not in MAY_IMPORT.get(part, set()):
                wrong.append(f"{part} -> {module}")
        elif part not in THIRD_PARTY.get(top, {part}):
            wrong.append(f"{part} -> {module}")
    return wrong


HOME = {"": "__init__", "__version__": "__init__"}
HOME |= {name: home.split(".")[1] for name, home in attnviz._HOMES.items()}
FILES = sorted(PACKAGE.rglob("*.py"))
PAGES = sorted((ROOT / "pages").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_point_one_way(path: Path) -> None:
    assert wrong_imports(path) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("views/x.py", "import torch"),
        ("views/x.py", "import torch.nn as nn"),
        ("views/x.py", "from attnviz.captures.forward_pass import Capture"),
        ("views/x.py", "from attnviz import metrics"),
        ("views/x.py", "from attnviz import load"),
        ("views/x.py", "from ..captures import Capture"),
        ("metrics/x.py", "from attnviz.models import load"),
        ("metrics/x.py", "def f():\n    from attnviz.ui import state"),
        ("attention/x.py", "if True:\n    import attnviz.models"),
        ("models/x.py", "from attnviz.captures.forward_pass import capture"),
        ("types.py", "from attnviz.errors import AttnvizError\nimport attnviz.metrics"),
        ("captures.py", "import streamlit as st"),
        ("newcomer/x.py", "from attnviz.types import Head"),
    ],
)
def test_the_rule_can_be_broken(path: str, source: str) -> None:
    assert wrong_imports(PACKAGE / path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("views/x.py", "from attnviz.types import Head\nimport plotly.graph_objects as go"),
        ("captures.py", "from attnviz.models import Model\nimport torch"),
        ("ui/x.py", "import streamlit\nfrom attnviz import capture, views"),
        ("metrics/x.py", "from . import registry"),
    ],
)
def test_the_rule_can_be_kept(path: str, source: str) -> None:
    assert wrong_imports(PACKAGE / path, source) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_are_thin(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) < PAGE_LINES
    for module in imports(path):
        top, _, rest = module.partition(".")
        assert top not in ("torch", "transformers", "plotly", "numpy", "pandas"), module
        if top == "attnviz":
            assert rest.split(".")[0] in ("ui", "views", "types", "errors"), module


def test_only_the_app_and_its_pages_know_the_screen() -> None:
    outside = [*ROOT.glob("training/**/*.py"), *ROOT.glob("benchmarks/**/*.py")]
    for path in outside:
        assert not any(name.startswith("attnviz.ui") for name in imports(path)), path


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_parts_of_the_package_need_no_import_of_their_own() -> None:
    """In a new process: another test may have imported the part already."""
    code = "import attnviz; print(attnviz.doctor.compare.__name__, attnviz.monitor.__name__)"
    assert run(code) == "compare attnviz.monitor"


@pytest.mark.parametrize(
    ("module", "banned"),
    [
        ("attnviz", "torch transformers numpy pandas plotly streamlit"),
        ("attnviz.types", "torch transformers pandas plotly streamlit"),
        ("attnviz.views", "torch transformers streamlit"),
        ("attnviz.captures.forward_pass", "plotly streamlit"),
    ],
)
def test_importing_a_part_does_not_load_what_it_does_not_need(module: str, banned: str) -> None:
    code = f"import sys, {module}; print(*sorted(set({banned.split()}) & set(sys.modules)))"
    assert run(code) == ""


def test_the_public_face_is_sorted_and_whole() -> None:
    assert list(attnviz.__all__) == sorted(attnviz.__all__)
    assert dir(attnviz) == sorted(attnviz.__all__)
    for name in attnviz.__all__:
        assert getattr(attnviz, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = attnviz.nonsense


MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in FILES
    if part_of(path) not in ("ui", "cli", "__main__", "vendor")
)


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_announces_exists(name: str) -> None:
    module = importlib.import_module(name)
    announced = getattr(module, "__all__", [])
    assert len(set(announced)) == len(announced)
    assert list(announced) == sorted(announced) or announced == sorted(announced, key=_isort)
    for one in announced:
        assert getattr(module, one) is not None


def _isort(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: how the formatter sorts."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_the_family_of_errors_is_the_one_its_file_shows() -> None:
    from attnviz import errors

    assert errors.__doc__ is not None
    drawn = re.findall(r"^[\s│├└─]*(\w+)", errors.__doc__.split("\n\n")[1], re.MULTILINE)
    assert sorted(drawn) == sorted(errors.__all__)
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.AttnvizError)


def tracked() -> list[Path]:
    """Return the files of the project, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if listed.returncode:  # an unpacked archive has no history
        return [path for path in ROOT.rglob("*.py") if ".venv" not in path.parts]
    return [ROOT / name for name in listed.stdout.split("\0") if name]


PICKLED = re.compile(rb"\.(bin|pt|pth|pkl|pickle|ckpt|joblib|npy)$")


def unsafe_uses(source: str) -> list[str]:
    """Calls that would run a stranger's code: unpickling, and foreign model code."""
    places = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            options = {one.arg: one.value for one in node.keywords}
            trusts = options.get("trust_remote_code", ast.Constant(False))
            if not (isinstance(trusts, ast.Constant) and trusts.value is False):
                places.append("trust_remote_code")
            safe = options.get("weights_only")
            if called == "torch.load" and not (isinstance(safe, ast.Constant) and safe.value):
                places.append(called)
            if re.search(
                r"\b(pickle|cPickle|dill|joblib|marshal|shelve)\.(load|loads|open)$", called
            ):
                places.append(called)
            if called in ("eval", "exec"):
                places.append(called)
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                named = isinstance(key, ast.Constant) and key.value == "trust_remote_code"
                if named and not (isinstance(value, ast.Constant) and value.value is False):
                    places.append("trust_remote_code")
    return places


def test_nothing_of_ours_unpickles_or_runs_foreign_code() -> None:
    for path in tracked():
        if path.suffix == ".py" and path.exists():
            assert unsafe_uses(path.read_text(encoding="utf-8")) == [], path


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(file)",
        "pickle.loads(b'')",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=anything)",
        "options = {'trust_remote_code': True}",
        "eval(text)",
    ],
)
def test_unsafe_uses_are_found(source: str) -> None:
    assert unsafe_uses(source)


def test_no_pickle_is_tracked() -> None:
    assert [path for path in tracked() if PICKLED.search(str(path).encode())] == []
