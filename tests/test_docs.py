"""Documents: code runs and prints what they show, commands exist, links and named files exist."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

import pytest
import yaml

from attnviz import cli, metrics

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
PAPERS = [*DOCUMENTS, ROOT / "NOTICE"]

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+\.\d+(?:e[-+]?\d+)?")
HOSTS = {"localhost", "github.com"}
MACHINE = re.compile(
    r"(?<![\w.:/])/(?:work|home|root|tmp|opt|mnt|srv|var|Users)\b|site-packages|pypi|registry\.|proxy"
)


def label(path: Path) -> str:
    """Return the path of a document in the repository."""
    return path.relative_to(ROOT).as_posix()


every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=label)
every_paper = pytest.mark.parametrize("path", PAPERS, ids=label)


def blocks(text: str) -> list[tuple[str, str, str]]:
    """Return language, content, and the text between it and the block before, for fenced blocks."""
    fenced, end = [], 0
    for match in FENCED.finditer(text):
        fenced.append((match[1], match[2], text[end : match.start()]))
        end = match.end()
    return fenced


def same_output(printed: str, shown: str) -> bool:
    """Compare words exactly, and numbers with a point within 2% or 0.015.

    The last digits of float32 sums differ between processors.
    """
    if NUMBER.sub("#", printed).split() != NUMBER.sub("#", shown).split():
        return False
    pairs = zip(NUMBER.findall(printed), NUMBER.findall(shown), strict=True)
    return all(float(one) == pytest.approx(float(two), rel=0.02, abs=0.015) for one, two in pairs)


def commands(path: Path, start: str) -> list[list[str]]:
    """Return the arguments of every command line in a document that has `start` in it."""
    lines = re.findall(rf"^    .*?{start}(.*)$", path.read_text("utf-8"), re.MULTILINE)
    return [shlex.split(re.split(r"[<>]|\|\|", line)[0], comments=True) for line in lines]


def anchors(text: str) -> list[str]:
    """Return the anchors of the headings of a document; equal ones are numbered."""
    names: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        count = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", one) is not None for one in names)
        names.append(f"{slug}-{count}" if count else slug)
    return names


def foreign(text: str) -> list[str]:
    """Return paths and hosts that exist on one machine only."""
    urls = re.findall(r"https?://[^\s)`>\"]+", text)
    return [*MACHINE.findall(text), *(url for url in urls if urlparse(url).hostname not in HOSTS)]


def test_the_python_of_the_readme_runs() -> None:
    (code,) = [code for language, code, _ in blocks(README.read_text("utf-8")) if language]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [one for one in DOCUMENTS if one != README and "```python" in one.read_text("utf-8")],
    ids=label,
)
def test_the_python_of_a_document_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks run in the order of the page, in an empty folder; a block of text is the output."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    printed = ""
    for number, (language, content, before) in enumerate(blocks(path.read_text("utf-8"))):
        if language == "python":
            file, output = tmp_path / f"block{number}.py", io.StringIO()
            file.write_text(content, "utf-8")
            with contextlib.redirect_stdout(output):
                names = runpy.run_path(str(file), init_globals=names)
            printed = output.getvalue()
        elif language == "text" and not before.strip():
            assert same_output(printed, content), printed


def test_other_output_is_noticed() -> None:
    assert same_output("L1 0.88\n", "L1 0.89\n")
    assert not same_output("L1 0.88", "L2 0.88")
    assert not same_output("0.88", "0.80")
    assert not same_output("(4, 8)", "(4, 9)")


@every_document
def test_every_fenced_block_is_python_or_output(path: Path) -> None:
    """Other blocks would be neither run nor checked; commands are indented."""
    assert {language for language, *_ in blocks(path.read_text("utf-8"))} <= {
        "python",
        "text",
        "mermaid",
    }


@every_document
def test_the_commands_exist(path: Path) -> None:
    for arguments in commands(path, r"(?<![\w./-])(?:\S*python -m |\.venv/bin/)?attnviz "):
        if arguments != ["COMMAND", "--help"]:
            cli.parser().parse_args(arguments)
    for folder in ("training", "benchmarks"):
        for name, *_ in commands(path, rf"python -m {folder}\."):
            assert importlib.util.find_spec(f"{folder}.{name}") is not None, name


def test_commands_are_found() -> None:
    assert len(commands(README, r"-m attnviz ")) >= 3
    assert len(commands(ROOT / "docs/reference/command-line.md", r"attnviz ")) >= 6


def test_a_wrong_command_is_noticed() -> None:
    with pytest.raises(SystemExit), contextlib.redirect_stderr(None):
        cli.parser().parse_args(["app", "--no-such-option"])


def test_the_index_lists_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / link).resolve() for link in LINK.findall(index.read_text("utf-8"))}
    missing = [label(path) for path in DOCUMENTS if path not in {index, README, *linked}]
    assert not missing, f"add to docs/index.md: {missing}"


def test_the_commit_hook_runs_what_make_lint_runs() -> None:
    settings = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert [one["repo"] for one in settings["repos"]] == ["local"]  # nothing from a network
    (hook,) = settings["repos"][0]["hooks"]
    assert (hook["entry"], hook["language"], hook["pass_filenames"]) == (
        "make lint",
        "system",
        False,
    )


@every_document
def test_the_make_targets_exist(path: Path) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for arguments in commands(path, r"(?<![\w-])make "):
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
            assert anchor in anchors(target.read_text("utf-8")), link


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
    text = (ROOT / "docs" / "reference" / "metrics.md").read_text("utf-8")
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


def test_no_file_has_marks_of_a_merge() -> None:
    names = subprocess.run(
        ["git", "ls-files", "*.py", "*.md", "*.toml", "*.js", "*.css"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    marks = ("<" * 7 + " ", ">" * 7 + " ")
    for name in names:
        for line in (ROOT / name).read_text("utf-8").splitlines():
            assert not line.startswith(marks), name
