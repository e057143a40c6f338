"""Command line: output, refusals, and serving."""

from __future__ import annotations

import functools
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from transformers.utils import logging

import attnviz
from attnviz import cli
from attnviz.doctor.labels.thresholds import Thresholds
from attnviz.errors import AttnvizError
from attnviz.experiments.text_sets import TextSet, bundled
from attnviz.findings import Finding, Interval, Progress, Verdict
from attnviz.types import Head

TEXT = "The old king sat down. The old king"


def test_capture_prints_every_heads_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["capture", "gpt-classroom", TEXT]) == 0
    printed = pd.read_csv(io.StringIO(capsys.readouterr().out))
    expected = attnviz.summarize(attnviz.capture(attnviz.load("gpt-classroom"), TEXT))
    pd.testing.assert_frame_equal(printed, expected, rtol=1e-4, atol=1e-5, check_dtype=False)


def test_capture_reads_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(TEXT))
    assert cli.main(["capture", "gpt-classroom", "-"]) == 0
    assert capsys.readouterr().out.startswith("kind,layer,head,entropy")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["capture", "gpt-classroom", "  "], "there is no text"),
        (["capture", "gpt-classroom", "word " * 600], "has room for"),
        (["capture", "/no/such/folder", "text"], "there is no folder"),
        (["capture", "gpt-classroom", "a", "--pair", "b"], "a second sentence is for encoders"),
    ],
)
def test_bad_input_is_a_sentence_and_status_two(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert not said.out


@pytest.mark.slow
def test_capture_writes_nothing_but_its_table_into_a_log() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "attnviz", "capture", "gpt-classroom", "The cat sat."],
        capture_output=True, text=True, check=True, encoding="utf-8",
    )  # fmt: skip
    assert done.stdout.startswith("kind,layer,head") and done.stderr == ""


def test_cut_texts_are_announced(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["capture", "gpt-classroom", "word " * 600, "--cut"]) == 0
    assert "tokens were cut off" in capsys.readouterr().err


def test_the_app_keeps_its_settings_wherever_it_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served: dict[str, object] = {}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("streamlit.web.bootstrap.load_config_options", served.update)
    monkeypatch.setattr("streamlit.web.bootstrap.run", lambda script, *_: served.update(at=script))
    monkeypatch.setattr("attnviz.cli.serve._warm_up", lambda options: None)
    assert cli.main(["app", "--port", "8600", "--address", "0.0.0.0", "--headless"]) == 0
    assert Path(str(served["at"])).is_file()
    assert served["browser.gatherUsageStats"] is False
    assert served["server.fileWatcherType"] == "none"
    assert served["client.showErrorDetails"] == "type"
    assert served["server.address"] == "0.0.0.0"
    assert served["server.port"] == 8600


FINDINGS = (
    Finding(Head("self", 0, 1), "uniform", sentences=("It spreads its weight evenly.",)),
    Finding(Head("self", 0, 2), "sink", "resting"),
    Finding(Head("self", 0, 3), "dead", verdict=Verdict.NEEDED, sentences=("Yet it matters.",)),
)


LOSS = Interval(3.7, 3.6, 3.8, 0.5, 60)


@dataclass
class Doctor:
    """Stands in for `attnviz.diagnose`: notes how it is called, and finds the same each time."""

    called_with: dict[str, Any] | None = None
    stops: BaseException | None = None
    breaks: Exception | None = None
    findings: tuple[Finding, ...] = FINDINGS
    notes: tuple[str, ...] = ("a note",)
    broken: tuple[str, ...] = ()
    loss: Interval = LOSS
    pruning: str = ""
    groups: tuple[str, ...] = ("2 heads that do the same.",)

    def __call__(self, model: attnviz.Model, texts: TextSet, **options: Any) -> Doctor:
        self.called_with = {"model": model.info.name, "texts": texts, **options}
        progress = options["progress"]
        for done in range(101):
            stage = "measuring" if done < 55 else "removing heads"
            progress(Progress(stage, done / 100, done / 10))
            if done == 30 and self.stops is not None:
                raise self.stops
        return self

    def to_html(self, path: Path) -> None:
        if self.breaks is not None:
            raise self.breaks
        path.write_text("html", "utf-8")

    def to_json(self, path: Path) -> None:
        path.write_text("json", "utf-8")

    def to_csv(self, path: Path) -> None:
        path.write_text("csv", "utf-8")


loaded = functools.cache(attnviz.load)


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Doctor]:
    chosen = Doctor()
    monkeypatch.setattr(attnviz, "diagnose", chosen, raising=False)
    monkeypatch.setattr(attnviz, "load", loaded)
    # The switch for bars that `main` sets is read when the library is imported: too late here.
    logging.disable_progress_bar()
    yield chosen
    logging.enable_progress_bar()


def test_heads_with_equal_evidence_stand_on_one_line(
    doctor: Doctor, capsys: pytest.CaptureFixture[str]
) -> None:
    doctor.findings = tuple(
        Finding(
            head=Head("self", layer, head),
            label="non-finite" if layer else "uniform",
            verdict=Verdict.NOT_TESTED,
            sentences=("It computes NaN.",) if layer else (f"Its weights {head} are even.",),
        )
        for layer in range(3)
        for head in range(12)
    )
    cli.main(["diagnose", "gpt-classroom"])
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("    It computes NaN.") == 1
    end = lines.index("    It computes NaN.")
    assert "non-finite" in lines[end - 1] and "L2·H11" in lines[end - 1]
    assert lines[end - 2].startswith("  L1·H0, L1·H1, ")
    assert max(len(line) for line in lines[end - 2 : end]) <= 100
    # Heads with other evidence keep a line each.
    assert lines[lines.index("    Its weights 3 are even.") - 1] == "  L0·H3  uniform"


def test_diagnose_says_what_it_found(doctor: Doctor, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diagnose", "gpt-classroom"]) == 0
    assert doctor.called_with is not None
    del doctor.called_with["progress"]
    assert doctor.called_with == {
        "model": "gpt-classroom",
        "texts": bundled("decoder"),
        "ablate": True,
        "thresholds": Thresholds(),
        "long": "windows",
        "seed": 0,
    }
    said = capsys.readouterr().out
    assert said.startswith(
        "gpt-classroom: 3 heads on 60 texts, bundled (decoder), "
        "loss 3.70 nats per token (3.60 to 3.80)\n"
    )
    assert "L0·H1  uniform\n    It spreads its weight evenly." in said
    assert "Look degenerate but are needed\n  L0·H3  dead\n    Yet it matters." in said
    assert "Heads that do the same\n  2 heads that do the same.\n" in said
    assert said.endswith("Notes\n  a note\n")


def test_diagnose_passes_its_options_on(doctor: Doctor, tmp_path: Path) -> None:
    texts = tmp_path / "mine.txt"
    texts.write_text("one\ntwo\n", "utf-8")
    options = ["--no-ablation", "--seed", "7", "--device", "cpu", "--texts", str(texts)]
    options += ["--long", "refuse", "--threshold", "uniform_entropy=0.9"]
    options += ["--threshold", "sink_mass = 0.5"]
    assert cli.main(["diagnose", "gpt-classroom", *options]) == 0
    assert doctor.called_with is not None
    values = [doctor.called_with[name] for name in ("ablate", "seed", "long", "thresholds")]
    assert values == [False, 7, "refuse", Thresholds(uniform_entropy=0.9, sink_mass=0.5)]
    assert [text.source for text in doctor.called_with["texts"].texts] == ["one", "two"]


def test_thresholds_come_from_a_file_and_single_ones_move_them(
    doctor: Doctor, tmp_path: Path
) -> None:
    limits = tmp_path / "limits.json"
    diagnosis = tmp_path / "diagnosis.json"
    limits.write_text('{"uniform_entropy": 0.9, "sink_mass": 0.4}', "utf-8")
    diagnosis.write_text('{"seed": 0, "thresholds": {"uniform_entropy": 0.91}}', "utf-8")
    for options, expected in (
        ([limits], Thresholds(uniform_entropy=0.9, sink_mass=0.4)),
        ([limits, "--threshold", "sink_mass=0.5"], Thresholds(uniform_entropy=0.9, sink_mass=0.5)),
        ([diagnosis], Thresholds(uniform_entropy=0.91)),
    ):
        assert cli.main(["diagnose", "gpt-classroom", "--thresholds", *map(str, options)]) == 0
        assert doctor.called_with is not None
        assert doctor.called_with["thresholds"] == expected


def test_diagnose_writes_its_files(doctor: Doctor, tmp_path: Path) -> None:
    files = {kind: tmp_path / f"found.{kind}" for kind in ("out", "json", "csv")}
    files["json"].write_text("of yesterday", "utf-8")
    options = [part for kind, path in files.items() for part in (f"--{kind}", str(path))]
    assert cli.main(["diagnose", "gpt-classroom", *options]) == 0
    assert [path.read_text("utf-8") for path in files.values()] == ["html", "json", "csv"]


@pytest.mark.parametrize(
    "error", [OSError(28, "the disk is full"), AttnvizError("the disk is full")]
)
def test_a_file_that_fails_does_not_take_the_findings_with_it(
    doctor: Doctor, tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    doctor.breaks = error
    csv = tmp_path / "found.csv"
    options = ["--out", str(tmp_path / "found.html"), "--csv", str(csv)]
    assert cli.main(["diagnose", "gpt-classroom", *options]) == 2
    said = capsys.readouterr()
    assert "found.html' could not be written: the disk is full" in said.err
    assert "L0·H1  uniform" in said.out
    assert csv.exists()


@pytest.mark.parametrize(
    ("names", "status"),
    [
        ("uniform", 1),
        ("peaked,redundant", 0),
        ("peaked,uniform", 1),
        ("dead", 1),
        ("sink", 1),
        ("sink:broken", 0),
        ("sink: resting", 1),
        ("needed", 1),
        ("better-without", 0),
        ("better without,Useless", 0),
    ],
)
def test_fail_on_sets_the_status(
    doctor: Doctor, capsys: pytest.CaptureFixture[str], names: str, status: int
) -> None:
    assert cli.main(["diagnose", "gpt-classroom", "--fail-on", names]) == status
    said = capsys.readouterr()
    assert ("--fail-on" in said.err) == bool(status)
    assert "L0·H1  uniform" in said.out


def test_fail_on_names_the_heads(doctor: Doctor, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["diagnose", "gpt-classroom", "--fail-on", "sink,dead"])
    assert (
        "found L0·H2 (sink: resting, not tested), L0·H3 (dead, needed)" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["gpt-classroom", "--fail-on", "unifrom"], "no head is called 'unifrom'; the labels are"),
        (["gpt-classroom", "--fail-on", "sink:bad"], "the kinds are resting, working, "),
        (["gpt-classroom", "--fail-on", "unifrom"], "and the verdicts useless, needed, no-diff"),
        (["gpt-classroom", "--thresholds", "none.json"], "'none.json' cannot be read: No such"),
        (["gpt-classroom", "--thresholds", "empty.txt"], "of 'empty.txt' are no JSON"),
        (["gpt-classroom", "--thresholds", "list.json"], "'list.json' should hold a JSON object"),
        (["gpt-classroom", "--thresholds", "odd.json"], "there is no threshold 'unifrom'"),
        (["gpt-classroom", "--prune", "p", "--no-ablation"], "leave out --no-ablation"),
        (["gpt-classroom", "--prune", "no-folder/p.json"], "there is no folder 'no-folder'"),
        (["gpt-classroom", "--threshold", "unifrom=0.9"], "there is no threshold 'unifrom'"),
        (["gpt-classroom", "--threshold", "sink_mass=most"], "from 0 to 1, not 'most'"),
        (["gpt-classroom", "--threshold", "sink_mass"], "from 0 to 1, not ''"),
        (["gpt-classroom", "--threshold", "sink_mass=nan"], "from 0 to 1, not nan"),
        (["gpt-classroom", "--out", "no-folder/report.html"], "there is no folder 'no-folder'"),
        (["gpt-classroom", "--csv", "."], "'.' is a folder; give the name of a file"),
        (["gpt-classroom", "--json", "x" * 5000], "no file can be called that"),
        (["gpt-classroom", "--json", "a", "--csv", "./a"], "'a' stands for two files"),
        (["gpt-classroom", "--texts", "no-such.txt"], "there is no file or folder 'no-such.txt'"),
        (["gpt-classroom", "--texts", "empty.txt"], "there is no text in 'empty.txt'"),
        (["gpt-classroom", "--texts", "pairs.tsv"], "'pairs.tsv' has texts with a target"),
        (["no/such/folder"], "there is no folder"),
        (["gpt-classroom", "--device", "abacus"], "no device 'abacus'"),
    ],
)
def test_diagnose_refuses_before_it_begins(
    doctor: Doctor,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    options: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n \n", "utf-8")
    (tmp_path / "pairs.tsv").write_text("one\tun\n", "utf-8")
    (tmp_path / "list.json").write_text("[1]", "utf-8")
    (tmp_path / "odd.json").write_text('{"unifrom": 0.9}', "utf-8")
    assert cli.main(["diagnose", *options]) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert len(said.err.splitlines()) == 1
    assert not said.out
    assert doctor.called_with is None


def test_heads_to_prune_are_written(tmp_path: Path) -> None:
    """The file has the heads that the table of the same run calls so."""
    texts, heads, csv = (tmp_path / name for name in ("texts.txt", "heads.json", "heads.csv"))
    texts.write_text("The cat saw the dog.\nThe old king sat down again.\n", "utf-8")
    options = ["--texts", str(texts), "--prune", str(heads), "--csv", str(csv)]
    assert cli.main(["diagnose", "gpt-classroom", *options]) == 0
    table = pd.read_csv(csv)
    written = json.loads(heads.read_text("utf-8"))
    for name in ("better_without", "no_difference", "needed", "unclear"):
        expected = table[table.verdict == name.replace("_", " ")]
        assert {(one["layer"], one["head"]) for one in written[name]} == set(
            zip(expected["layer"], expected["head"], strict=True)
        )


def test_compare_prints_and_writes_what_has_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("The cat saw the dog. The cat saw the dog.\nA king sat down.\n", "utf-8")
    files = {name: tmp_path / f"two.{name}" for name in ("out", "json", "csv")}
    options = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    options += ["--texts", str(texts), "--no-ablation", "--fail-on", "worse,changed"]
    status = cli.main(["compare", "gpt-classroom", "french-classroom", *options])
    said = capsys.readouterr()
    assert said.out.startswith("gpt-classroom and french-classroom: 2 texts, texts.txt\n")
    table = pd.read_csv(files["csv"])
    furthest = table.loc[table.divergence.idxmax()]
    name = f"L{furthest['layer']}·H{furthest['head']}"
    listed = said.out.partition("Moved furthest (divergence of the rows, nats)\n")[2]
    assert listed.startswith(f"  {name}  {furthest.divergence:.3f} ({furthest.before} before, ")
    plain = json.loads(files["json"].read_text("utf-8"))
    assert len(plain["heads"]) == len(table) == 32
    assert files["out"].read_text("utf-8").startswith("<!doctype html>")
    assert plain["loss_outcome"] in ("worse", "better", "no difference", "unclear")
    reached = [
        name for name, one in (("worse", plain["worse"]), ("changed", table.changed.any())) if one
    ]
    assert status == bool(reached)
    assert (f"found: {', '.join(reached)}" in said.err) == bool(reached)
    assert ("Changed labels" in said.out) == table.changed.any()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["gpt-classroom", "gpt-classroom"], "the same model: nothing can differ"),
        (["gpt-classroom", "bert-classroom"], "only two models of one kind can be compared"),
        (
            ["gpt-classroom", "french-classroom", "--fail-on", "bad"],
            "takes worse, lost, harmful, changed",
        ),
        (["gpt-classroom", "french-classroom", "--out", "no/x.html"], "there is no folder 'no'"),
    ],
)
def test_compare_refuses_before_it_begins(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    options: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", *options]) == 2
    said = capsys.readouterr()
    assert says in said.err.splitlines()[-1] and not said.out


def test_progress_is_lines_where_no_terminal_is(
    doctor: Doctor, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["diagnose", "gpt-classroom"])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "attnviz:   0%  measuring"
    assert lines[1] == "attnviz:  10%  measuring, about 9 s left"
    assert lines[-1] == "attnviz: 100%  removing heads"
    assert sum("removing heads" in line for line in lines) == 6
    assert len(lines) == 12


def test_progress_is_a_bar_on_a_terminal(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert cli.main(["diagnose", "gpt-classroom"]) == 0
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "\n" not in shown.rsplit("\r", 1)[0]
    assert "  0% |" in shown
    assert shown.endswith("\r")
    assert "L0·H1" in capsys.readouterr().out


def test_an_interrupted_diagnosis_ends_with_a_sentence(
    doctor: Doctor, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    doctor.stops = KeyboardInterrupt()
    report = tmp_path / "report.html"
    assert cli.main(["diagnose", "gpt-classroom", "--out", str(report)]) == 130
    said = capsys.readouterr()
    assert said.err.endswith("attnviz: stopped before it was done\n")
    assert not said.out
    assert not report.exists()


def test_a_poor_terminal_gets_what_it_can_show(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    poor = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", poor)
    assert cli.main(["diagnose", "gpt-classroom"]) == 0
    poor.seek(0)
    assert "L0?H1  uniform" in poor.read()


def test_seconds_and_minutes_left() -> None:
    said = [Progress("x", 0.5, seconds).text for seconds in (0.1, 89, 200)]
    assert said == ["x, about 1 s left", "x, about 89 s left", "x, about 3 min left"]
    assert Progress("x", 0.01, 5).text == Progress("x", 1.0, 5).text == "x"


def test_the_app_names_what_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("attnviz.cli.serve.find_spec", lambda name: None)
    assert cli.main(["app", "--headless"]) == 2
    assert "the app needs streamlit and bertviz" in capsys.readouterr().err
