"""Refusals of a server for a class, and the command that sets them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path

import pytest

from attnviz.cli import parser
from attnviz.cli.serve import _allow
from attnviz.errors import ModelNotAllowed
from attnviz.models import CLASSROOM
from attnviz.ui.server import permissions
from attnviz.ui.server.load_report import report, reports
from attnviz.ui.session import model_cache
from tests.app.conftest import OpenApp, said

VARIABLES = (
    *("ATTNVIZ_MODELS", "ATTNVIZ_MAX_TOKENS", "ATTNVIZ_DIAGNOSES", "ATTNVIZ_MODEL_FOLDERS"),
)


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No permission is set before the test, and none after it."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def options(*arguments: str) -> argparse.Namespace:
    return parser().parse_args(["app", *arguments])


@pytest.mark.usefixtures("clean")
def test_without_class_nothing_is_set() -> None:
    _allow(options())
    assert not any(name in os.environ for name in VARIABLES)
    assert permissions.takes_any_model()


@pytest.mark.usefixtures("clean")
def test_class_allows_the_shipped_models_and_what_was_set_by_hand_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ATTNVIZ_DIAGNOSES", "9")
    _allow(options("--class"))
    assert not permissions.takes_any_model()
    assert permissions.listed_models() == [model.name for model in CLASSROOM]
    assert os.environ["ATTNVIZ_DIAGNOSES"] == "9"
    assert os.environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.usefixtures("clean")
def test_models_names_the_only_ones(gpt_folder: Path) -> None:
    _allow(options("--class", "--models", "gpt-classroom", str(gpt_folder)))
    assert permissions.listed_models() == ["gpt-classroom", str(gpt_folder)]
    assert model_cache.load_model(str(gpt_folder)).info.heads
    for name in ("bert-classroom", "gpt2", "org/model", "../x", str(gpt_folder.parent), ""):
        with pytest.raises(ModelNotAllowed, match="no other models"):
            model_cache.load_model(name)


@pytest.mark.parametrize("page", [None, "pages/compare/pair.py", "pages/diagnose/two_models.py"])
@pytest.mark.usefixtures("clean")
def test_a_link_to_another_model_opens_a_listed_one(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, page: str | None
) -> None:
    monkeypatch.setenv("ATTNVIZ_MODELS", "shipped")
    app = open_app(page, model="org/secret", second="org/secret")
    assert not app.exception
    assert app.selectbox(key="model").value == "gpt-classroom"
    assert "org/secret" not in said(app)


def test_a_full_queue_of_diagnoses_is_said(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attnviz.ui.jobs.long_jobs.DIAGNOSES", 0)
    app = open_app("pages/diagnose/diagnosis.py")
    app.button(key="start:Diagnose").click().run()
    assert "this server allows 0" in said(app)
    assert report().diagnoses == 0


def test_reports_of_other_processes_are_read_and_old_or_broken_ones_are_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ATTNVIZ_REPORTS", str(tmp_path))
    here = report()
    for name, change in (
        ("other", {"process": 1}),
        ("old", {"process": 2, "time": here.time - 60}),
    ):
        other = dataclasses.asdict(here) | change
        (tmp_path / f"report-{name}.json").write_text(json.dumps(other), "utf-8")
    (tmp_path / "report-broken.json").write_text("{", "utf-8")
    (tmp_path / "report-list.json").write_text("[1]", "utf-8")
    assert [one.process for one in reports()] == [here.process, 1]
    assert here.megabytes > 50


def test_the_status_page_opens_without_a_turn(open_app: OpenApp) -> None:
    app = open_app("pages/teacher/status.py")
    assert not app.exception
    assert "Status of this server" in said(app)
