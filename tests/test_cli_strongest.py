"""Command `attnviz strongest`: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

import attnviz
from attnviz import cli
from attnviz.cli.strongest import named_head
from attnviz.errors import InputError
from attnviz.models import CLASSROOM
from attnviz.types import Head
from tests.broken import with_number

TEXTS = (
    "The red dog saw the blue bird. The red dog ran.",
    "Anna gave the ball to Ben. Then Ben gave the ball to Clara.",
    "A",
)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS), "utf-8")
    return path


def test_one_head_is_printed_with_its_places(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / f"places.{name}" for name in ("json", "csv")}
    options = ["--head", "L1.H3", "--measure", "induction", "--texts", str(texts)]
    written = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    assert cli.main(["strongest", "gpt-classroom", *options, *written]) == 0
    printed = capsys.readouterr().out
    model = attnviz.load("gpt-classroom")
    result = attnviz.strongest(model, list(TEXTS), head=Head("self", 1, 3), measures=["induction"])
    assert len(result.places()) == 2
    for rank, place in enumerate(result.places(), 1):
        assert f"{rank}. {place.value:.3f} · text {place.text + 1} · " in printed
        query = place.query_tokens.labels[place.query].removeprefix("·")
        assert f"*{query}*" in printed
        assert f"[{place.key_tokens.labels[place.key].removeprefix('·')}]" in printed
    assert "1 of 3 texts has no row in which Induction is defined." in printed
    (head,) = json.loads(files["json"].read_text("utf-8"))["heads"]
    assert [one["text"] for one in head["places"]] == [one.text for one in result.places()]
    table = pd.read_csv(files["csv"])
    assert list(table["query"]) == [one.query for one in result.places()]
    assert table["value"].tolist() == pytest.approx(
        [one.value for one in result.places()], abs=1e-5
    )


def test_all_heads_have_a_line_each(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["strongest", "t5-classroom", "--texts", str(texts), "--count", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    model = attnviz.load("t5-classroom")
    for head in model.info.every_head():
        assert sum(line.startswith(f"{head.label}  ") for line in lines) == 1
    assert len(lines) == len(model.info.every_head())


def test_cross_attention_has_two_lines_of_tokens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pairs.tsv").write_text("The house is blue.\tLa maison est bleue.", "utf-8")
    options = ["--texts", str(tmp_path / "pairs.tsv"), "--head", "cross:L0.H1"]
    assert cli.main(["strongest", "t5-classroom", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("*" in line for line in lines) == 1 and sum("[" in line for line in lines) == 1
    assert any("maison" in line for line in lines) and any("house" in line for line in lines)


def test_a_head_with_nan_gives_status_one(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = next(one.folder for one in CLASSROOM if one.name == "gpt-classroom")
    broken = with_number(folder, tmp_path / "nan", "h.3.attn.c_attn.weight", math.nan, (0, 0))
    assert cli.main(["strongest", str(broken), "--texts", str(texts)]) == 1
    said = capsys.readouterr()
    assert (
        "L3·H0  This head computes NaN or infinity on every text: there it has no place."
        in said.out
    )
    assert "1 head computes NaN or infinity" in said.err
    assert "L3·H1  " in said.out and said.out.count("computes NaN") == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["gpt-classroom", "--head", "first"], "--head takes a head such as L1.H3"),
        (["gpt-classroom", "--head", "9.0"], "there is no head L9·H0 in gpt-classroom"),
        (["gpt-classroom", "--head", "cross:0.0"], "has no attention 'cross'; it has self"),
        (["t5-classroom", "--head", "0.0"], "write one of encoder, decoder, cross before the head"),
        (["gpt-classroom", "--measure", "size"], "there is no measure 'size' of rows"),
        (["gpt-classroom", "--count", "0"], "at least one place is searched, not 0"),
        (["gpt-classroom", "--texts", "no-such.txt"], "there is no file or folder 'no-such.txt'"),
        (["gpt-classroom", "--json", "no-folder/x.json"], "there is no folder 'no-folder'"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    options: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["strongest", *options]) == 2
    said = capsys.readouterr()
    assert says in said.err and not said.out


@pytest.mark.parametrize("name", ["L1.H3", "1.3", "L1·H3", "l1.h3", "self:L1.H3", "self L1·H3"])
def test_names_of_heads(name: str) -> None:
    info = attnviz.load("gpt-classroom").info
    assert named_head(name, info) == Head("self", 1, 3)
    translator = attnviz.load("t5-classroom").info
    assert [named_head(one.label, translator) for one in translator.every_head()] == list(
        translator.every_head()
    )
    with pytest.raises(InputError):
        named_head(f"{name}.4", info)
