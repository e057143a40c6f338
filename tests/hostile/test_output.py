"""Files that break half-way, tables that a spreadsheet computes, terminals that obey a message."""

from __future__ import annotations

import csv
import errno
import io
import os
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnviz import whole_files
from attnviz.characters import escaped, is_hidden, shortened
from attnviz.cli import main
from attnviz.cli.screen import say, show
from attnviz.spreadsheets import FORMULA, as_csv
from attnviz.whole_files import write_whole

OLD, NEW = "an older report\n", "a newer report, ünïcode 😀\n" * 1000


def failing(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Make one step of writing a file fail, as on a full disk."""

    def fail(*unused: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if where == "write":
        opened = os.fdopen

        class Full:
            def __init__(self, number: int, mode: str) -> None:
                self.file = opened(number, mode)

            def __enter__(self) -> Full:
                return self

            def __exit__(self, *unused: object) -> None:
                self.file.close()

            def write(self, content: bytes) -> None:
                self.file.write(content[:10])
                fail()

        monkeypatch.setattr(whole_files.os, "fdopen", Full)
    elif where == "rename":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        monkeypatch.setattr(whole_files.os, where, fail)


@pytest.mark.parametrize("where", ["open", "write", "fsync", "rename"])
@pytest.mark.parametrize("older", [True, False], ids=["over an older file", "new"])
def test_a_full_disk_leaves_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, older: bool
) -> None:
    path = tmp_path / "report.html"
    if older:
        path.write_text(OLD)
    failing(monkeypatch, where)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, NEW)
    monkeypatch.undo()
    assert [one.name for one in tmp_path.iterdir()] == (["report.html"] if older else [])
    if older:
        assert path.read_text() == OLD
    write_whole(path, NEW)
    assert path.read_text(encoding="utf-8") == NEW
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_real_full_device() -> None:
    with pytest.raises(OSError, match="No space left"):
        write_whole("/dev/full", NEW)
    assert Path("/dev/full").is_char_device()


def test_text_that_is_no_unicode_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(OLD)
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text() == OLD


def test_permissions_links_and_long_names(tmp_path: Path) -> None:
    path, link = tmp_path / ("n" * 250 + ".csv"), tmp_path / "link.csv"
    mask = os.umask(0o027)
    try:
        write_whole(path, OLD)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    link.symlink_to(path)
    write_whole(link, NEW)
    assert link.is_symlink()
    assert path.read_text(encoding="utf-8") == NEW
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text(encoding="utf-8")))
    reader.start()
    write_whole(pipe, NEW)
    reader.join(timeout=10)
    assert got == [NEW]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("option", ["--out", "--json", "--csv"])
def test_a_diagnosis_that_cannot_be_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
) -> None:
    """The command names the reason, exits with 2, and the older file is unchanged."""
    path, texts = tmp_path / "old", tmp_path / "texts.txt"
    path.write_text(OLD)
    texts.write_text("The cat sat on the mat.\nThe dog sat on the cat.\n")
    failing(monkeypatch, "fsync")
    arguments = ["diagnose", "gpt-classroom", "--texts", str(texts), "--no-ablation"]
    assert main([*arguments, option, str(path)]) == 2
    monkeypatch.undo()
    assert "could not be written: No space left on device" in capsys.readouterr().err
    assert path.read_text() == OLD
    assert sorted(one.name for one in tmp_path.iterdir()) == ["old", "texts.txt"]


FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "\t=1+1",
    "\n=1+1",
    '=HYPERLINK("http://evil.example","x")',
    "＝1+1",
    "-",
    "--",
]
NUMBERS = ["-1", "+1", "-1.5e-3", "1", "-.5"]
HARMLESS = ["the", "", "a=b", "1-2", "'=1", " =1"]


def cells(written: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(written, newline="")))


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_begins_a_formula(text: str) -> None:
    table = pd.DataFrame({text: [text, "x"], "value": [-1.5, 2.0]}, index=[text, "row"])
    for index in (True, False):
        for row in cells(as_csv(table, index=index)):
            for cell in row:
                assert cell == "-1.5" or not FORMULA.match(cell)
    assert f"'{text}" in cells(as_csv(table))[0]


def test_numbers_and_other_texts_are_as_they_were() -> None:
    table = pd.DataFrame({"a": [*NUMBERS, *HARMLESS], "b": -1.0})
    assert [row[0] for row in cells(as_csv(table))[1:]] == [*NUMBERS, *HARMLESS]
    assert as_csv(table) == table.to_csv(index=False)


def test_a_carriage_return_begins_no_row() -> None:
    table = pd.DataFrame({"\r=a": ["\r=1+1", "x\r=1+1"]})
    assert cells(as_csv(table)) == [["␍=a"], ["␍=1+1"], ["x␍=1+1"]]


def test_columns_of_one_name() -> None:
    table = pd.DataFrame([["=a", "=b"]], columns=["=", "="])
    assert cells(as_csv(table)) == [["'=", "'="], ["'=a", "'=b"]]


@given(st.lists(st.text(), min_size=1, max_size=5), st.floats(-10, 10))
def test_whatever_a_table_holds(texts: list[str], number: float) -> None:
    table = pd.DataFrame({"text": texts, "number": number}, index=texts)
    table[texts[0]] = np.arange(len(texts))
    read = cells(as_csv(table.reset_index(drop=True)))
    assert len(read[0]) == table.shape[1]
    for row in read:
        for cell in row:
            assert not FORMULA.match(cell) or _is_number(cell)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_every_csv_of_the_project_goes_through_one_function() -> None:
    root = Path(whole_files.__file__).parent
    for path in root.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if path.name != "spreadsheets.py":
            assert ".to_csv(" not in source, path
        if path.name != "whole_files.py":
            assert ".write_text(" not in source, path
            assert ".write_bytes(" not in source, path


HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\u202egpj.exe\r\n\0\ud800\u2028"


@given(st.text(st.characters()))
def test_nothing_hidden_is_left(text: str) -> None:
    assert not any(map(is_hidden, escaped(text)))
    assert not any(map(is_hidden, shortened(text)))
    assert len(shortened("x" * len(text), 10)) <= 10
    if not any(map(is_hidden, text)):
        assert escaped(text) == text


@pytest.mark.parametrize("print_", [say, show])
def test_messages_show_control_characters(print_: Any, capsys: pytest.CaptureFixture[str]) -> None:
    print_(HOSTILE)
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert "⟨1B⟩]0;title⟨7⟩" in shown
    assert not any(is_hidden(one) for one in shown if one != "\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["capture", f"model{HOSTILE}", "text"],
        ["capture", f"./model{HOSTILE}", "text"],
        ["capture", "gpt-classroom", "text", f"--{HOSTILE}"],
        ["capture", "gpt-classroom", "text", HOSTILE],
        [f"unknown{HOSTILE}"],
        ["diagnose", "gpt-classroom", "--out", f"missing{HOSTILE}/x"],
        ["diagnose", "gpt-classroom", "--texts", f"missing{HOSTILE}"],
        ["diagnose", "gpt-classroom", "--fail-on", HOSTILE],
        ["diagnose", "gpt-classroom", "--threshold", f"{HOSTILE}=1"],
        ["diagnose", "gpt-classroom", "--threshold", f"uniform_entropy={HOSTILE}"],
        ["diagnose", "gpt-classroom", "--long", HOSTILE],
        ["diagnose", "gpt-classroom", "--device", HOSTILE],
        ["app", "--port", HOSTILE],
    ],
)
def test_arguments_of_the_command_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(arguments)
    except SystemExit as error:
        status = int(error.code or 0)
    shown = "".join(capsys.readouterr())
    assert status == 2
    assert "Traceback" not in shown
    assert not any(is_hidden(one) for one in shown if one != "\n")
