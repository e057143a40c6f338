"""The command line: what it prints, what it refuses, and how it serves."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

import attnviz
from attnviz import cli

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
    monkeypatch.setattr(cli, "_warm_up", lambda: None)
    assert cli.main(["app", "--port", "8600", "--address", "0.0.0.0", "--headless"]) == 0
    assert Path(str(served["at"])).name == "app.py"
    assert served["browser.gatherUsageStats"] is False
    assert served["server.fileWatcherType"] == "none"
    assert served["client.showErrorDetails"] == "type"
    assert served["server.address"] == "0.0.0.0"
    assert served["server.port"] == 8600
