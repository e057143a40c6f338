"""What the documents say is so: code runs, commands exist, links lead somewhere."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

import pytest

from attnviz import cli, metrics

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").glob("*.md"))]
PAPERS = [*DOCUMENTS, ROOT / "NOTICE"]

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
HOSTS = {"localhost", "github.com"}
MACHINE = re.compile(
    r"(?<![\w.:/])/(?:work|home|root|tmp|opt|mnt|srv|var|Users)\b|site-packages|pypi|registry\.|proxy"
)

every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
every_paper = pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.name)


def commands(path: Path, start: str) -> list[list[str]]:
    """The arguments of every command line in a document that has `start` in it."""
    lines = re.findall(rf"^    .*?{re.escape(start)}(.*)$", path.read_text("utf-8"), re.MULTILINE)
    return [shlex.split(line.split(">")[0], comments=True) for line in lines]


def slug(heading: str) -> str:
    """The anchor that a heading gets on a page."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def foreign(text: str) -> list[str]:
    """Paths and hosts that mean something on one machine alone."""
    urls = re.findall(r"https?://[^\s)`>\"]+", text)
    return [*MACHINE.findall(text), *(url for url in urls if urlparse(url).hostname not in HOSTS)]


def test_the_python_of_the_readme_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 1
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", blocks[0]],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, *table, difference = done.stdout.strip().splitlines()
    assert re.fullmatch(r"L\d·H\d: “dark” looks at “·\w+”", first)
    assert all(name in " ".join(table) for name in ("kind", "layer", "head", "induction"))
    assert 0 < float(difference) < 5e-5


def test_the_commands_exist() -> None:
    asked = commands(README, "-m attnviz ")
    assert len(asked) >= 3
    for arguments in asked:
        cli.parser().parse_args(arguments)
    for name, *_ in commands(README, "-m training."):
        assert importlib.util.find_spec(f"training.{name}") is not None


def test_a_wrong_command_is_noticed() -> None:
    with pytest.raises(SystemExit), contextlib.redirect_stderr(None):
        cli.parser().parse_args(["app", "--no-such-option"])


@every_document
def test_the_make_targets_exist(path: Path) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for arguments in commands(path, "make "):
        assert arguments[0] in targets


@every_document
def test_links_lead_somewhere(path: Path) -> None:
    for link in LINK.findall(path.read_text("utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), link


@every_paper
def test_files_that_are_named_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    named = CODE.findall(text) if path.suffix == ".md" else re.findall(r"attnviz/[\w./-]+\w", text)
    for name in named:
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/([\w-]+\.[a-z]+)?", name):
            assert (ROOT / name).exists() or (ROOT / "attnviz" / name).exists(), name


@every_paper
def test_variables_of_the_environment_are_read_somewhere(path: Path) -> None:
    places = [*ROOT.glob("attnviz/**/*.py"), *ROOT.glob("tests/**/*.py")]
    code = "".join(one.read_text("utf-8") for one in places if one != Path(__file__))
    for name in re.findall(r"ATTNVIZ_\w+", path.read_text("utf-8")):
        assert f'"{name}"' in code, name


@every_paper
def test_nothing_speaks_of_one_machine(path: Path) -> None:
    assert foreign(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "text",
    ["in /home/me/models", "`/tmp/x`", "http://10.0.0.7:8501", "https://hub.example/x", "a pypi b"],
)
def test_what_speaks_of_one_machine_is_found(text: str) -> None:
    assert foreign(text)


def test_every_metric_is_explained_in_the_order_of_the_menu() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^#)", text, re.MULTILINE | re.DOTALL))
    assert tuple(sections) == metrics.names()
    for name, section in sections.items():
        assert (metrics.describe(name).unit or "A share, 0") in section, name
        assert "It does not mean" in section, name


def test_the_readme_names_every_architecture_that_is_tested() -> None:
    from tests.zoo import ARCHITECTURES

    section = README.read_text("utf-8").split("## Which models")[1].split("\n## ")[0]
    named = {re.sub(r"[^a-z0-9]", "", one) for one in re.split(r"[,\n]|\*\*", section.lower())}
    for what in ARCHITECTURES.values():
        assert re.sub(r"[^a-z0-9]", "", what.model_type) in named, what.model_type


def test_the_notice_names_what_is_shipped() -> None:
    notice = (ROOT / "NOTICE").read_text("utf-8").lower()
    for path in (ROOT / "attnviz" / "vendor").glob("*.js"):
        name, version = re.findall(r"([a-z\d-]+)-([\d.]+\d)", path.name)[0]
        assert f"{name} {version}" in notice
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text("utf-8")


def test_pictures_are_small_and_of_one_size() -> None:
    pictures = sorted((ROOT / "docs" / "images").glob("*.png"))
    assert pictures
    for path in pictures:
        start = path.read_bytes()[:24]
        assert start[:4] == b"\x89PNG"
        assert (start[16:20], start[20:24]) == ((1280).to_bytes(4, "big"), (900).to_bytes(4, "big"))
        assert path.stat().st_size < 200_000
