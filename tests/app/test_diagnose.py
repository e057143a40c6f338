"""Diagnose page: texts, waiting, results, thresholds and files."""

from __future__ import annotations

import math
import re
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from attnviz.doctor import THRESHOLDS, Diagnosis, TextSet
from attnviz.errors import InputError
from attnviz.experiments.text_sets import bundled
from attnviz.models import Model
from attnviz.ui.diagnose import diagnose_page as page
from attnviz.ui.jobs import long_jobs
from tests.app.conftest import ROOT, OpenApp, clickable, endless, said
from tests.app.diagnosis_samples import make_diagnosis, quick

DIAGNOSE = "pages/diagnose/diagnosis.py"
SOURCE = "diagnose_source"
TYPED = "diagnose_typed:decoder"


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up measurements in place of the long ones."""
    monkeypatch.setattr(page, "diagnose", quick)


def again(target: str) -> AppTest:
    """Open the app for a second visitor of the same server."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    return app.switch_page(target).run()


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label.startswith(label)).click().run()


def buttons(app: AppTest) -> list[str]:
    return [button.label for button in app.button]


def protos(app: AppTest, kind: str) -> str:
    """Return the messages to the browser about all elements of a kind."""
    return "\n".join(str(one.proto) for one in app.get(kind))


def wait(app: AppTest, seconds: float = 60) -> AppTest:
    """Wait until the job is over and the page shows its result."""
    deadline = time.monotonic() + seconds
    while "Cancel" in buttons(app):
        assert time.monotonic() < deadline, said(app)
        time.sleep(0.05)
        app.run()
    return app


def diagnosed(open_app: OpenApp, **link: object) -> AppTest:
    app = open_app(DIAGNOSE, **link)
    press(app, "Diagnose")
    return wait(app)


def type_texts(app: AppTest, texts: str, key: str = TYPED) -> AppTest:
    app.session_state[SOURCE] = "Typed here"
    app.run()
    return app.text_area(key=key).set_value(texts).run()


def test_nothing_runs_before_it_is_asked_for(open_app: OpenApp, quickly: None) -> None:
    app = open_app(DIAGNOSE)
    assert not app.exception
    assert "Diagnose" in buttons(app) and "Cancel" not in buttons(app)
    assert "60 texts that come with attnviz" in said(app)
    assert not app.text_area  # the side bar's text is of no use here


@pytest.mark.parametrize("model", ["gpt-classroom", "bert-classroom", "t5-classroom"])
def test_results_say_what_was_found(open_app: OpenApp, quickly: None, model: str) -> None:
    app = diagnosed(open_app, model=model)
    assert not app.exception
    kinds = 3 if model == "t5-classroom" else 1
    words = said(app)
    assert "looks degenerate, and removing it makes no difference" in words or kinds == 3
    assert "degenerate but" in words and "needed" in words
    assert "needed</span>" in protos(app, "html")
    assert len(app.get("plotly_chart")) == 4
    assert clickable(app) == ["label_map"]
    assert len(app.dataframe) == 2
    assert len(app.table) == 1
    saved = [button.label for button in app.get("download_button")]
    assert saved[:3] == ["Report (HTML)", "Table of all heads (CSV)", "Everything (JSON)"]
    assert saved[3].startswith("All numbers of ") and saved[4] == "Heads to prune (JSON)"


def test_it_begins_with_the_most_surprising_head(open_app: OpenApp, quickly: None) -> None:
    app = diagnosed(open_app)
    assert (app.selectbox(key="layer").value, app.selectbox(key="head").value) == (0, 2)
    assert "It looks peaked, but removing it costs" in said(app).replace("\\", "")
    assert list(app.query_params["head"]) == ["2"]


def test_the_map_of_a_text_leads_to_explore_with_this_text(
    open_app: OpenApp, quickly: None
) -> None:
    app = diagnosed(open_app)
    (title,) = [one.value for one in app.markdown if " on text " in one.value]
    number = int(title.split(" on text ")[1].split()[0])
    press(app, "Open head and text in Explore")
    assert not app.exception
    assert app.session_state["text:decoder"] == bundled("decoder").texts[number - 1].source
    assert (app.session_state["layer"], app.session_state["head"]) == (0, 2)


def test_one_click_leads_to_the_same_head_in_explore(open_app: OpenApp, quickly: None) -> None:
    app = diagnosed(open_app)
    app.selectbox(key="layer").select(3)
    app.selectbox(key="head").select(6).run()
    (link,) = app.get("page_link")
    query = parse_qs(link.proto.query_string)
    assert query == {
        "model": ["gpt-classroom"], "kind": ["self"], "layer": ["3"], "head": ["6"]
    }  # fmt: skip


def test_what_one_visitor_has_found_the_next_one_sees(open_app: OpenApp, quickly: None) -> None:
    diagnosed(open_app)
    other = again(DIAGNOSE)
    assert "degenerate but is needed" in said(other)


def test_filters_and_search_narrow_the_table(open_app: OpenApp, quickly: None) -> None:
    app = diagnosed(open_app)
    whole = next(one.value for one in app.dataframe if "verdict" in one.value)
    assert len(whole) == 32
    app.session_state["diagnosis_labels"] = ["uniform", "peaked"]
    app.run()
    shown = next(one.value for one in app.dataframe if "verdict" in one.value)
    # peaked but needed is more surprising than uniform
    assert list(shown["label"].str.split(":").str[0]) == ["peaked", "uniform"]
    app.text_input(key="diagnosis_search").set_value("L0 h2").run()
    shown = next(one.value for one in app.dataframe if "verdict" in one.value)
    assert list(shown["head"]) == ["L0·H2"]
    app.text_input(key="diagnosis_search").set_value("no head says this").run()
    assert not app.exception
    assert "0 heads of 32" in said(app)


def test_moving_a_threshold_shows_what_follows_and_can_be_undone(
    open_app: OpenApp, quickly: None
) -> None:
    app = diagnosed(open_app)
    assert "All limits are at their defaults" in said(app)
    app.selectbox(key="limits_of").select("uniform").run()
    app.slider(key="limit:uniform_entropy").set_value(0.995).run()
    assert "looks degenerate, and removing it makes no difference" not in said(app)
    assert "1 head is called something else now" in said(app)
    assert "was uniform" in said(app)
    press(app, "Reset all")
    assert "looks degenerate, and removing it makes no difference" in said(app)
    assert app.slider(key="limit:uniform_entropy").value == THRESHOLDS["uniform_entropy"].default


def test_every_threshold_has_its_meaning_and_source(open_app: OpenApp, quickly: None) -> None:
    app = diagnosed(open_app)
    app.selectbox(key="limits_of").select("uniform").run()
    app.slider(key="limit:uniform_entropy").set_value(0.99).run()
    shown = set()
    for label in app.selectbox(key="limits_of").options:
        app.selectbox(key="limits_of").select(label.lower()).run()
        shown |= {slider.key.removeprefix("limit:") for slider in app.slider}
        words = said(app).replace("\\", "")
        for slider in app.slider:
            limit = THRESHOLDS[slider.key.removeprefix("limit:")]
            assert limit.meaning[:40] in words
            assert limit.source[1:12] in words  # its first letter is large
    assert shown == set(THRESHOLDS)
    app.selectbox(key="limits_of").select("uniform").run()
    assert app.slider(key="limit:uniform_entropy").value == 0.99  # kept while others were shown


def test_close_calls_are_listed_beside_the_limits(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fourteen heads of which each interval of the weight on the token before contains 0.5."""
    close = [(layer, head) for layer in (2, 3) for head in range(7)]

    def diagnose(model: Model, texts: TextSet, **options: Any) -> Diagnosis:
        return make_diagnosis(model, texts, close=close)

    monkeypatch.setattr(page, "diagnose", diagnose)
    app = diagnosed(open_app)
    assert not app.exception
    lines = [line for line in protos(app, "html").splitlines() if "narrowly misses" in line]
    for layer, head in close[:12]:
        (line,) = [one for one in lines if f">L{layer}·H{head} (healthy):" in one]
        numbers = re.search(r"is 0\.498 \((0\.4\d+) to (0\.5\d+)\), the limit 0\.50", line)
        assert numbers is not None, line
        assert float(numbers[1]) < 0.5 < float(numbers[2])
        # the interval of a mean is near the normal one: 1.96 standard errors to each side
        error = 0.1 / math.sqrt(60)
        assert abs(float(numbers[2]) - float(numbers[1]) - 2 * 1.96 * error) < error
    assert len(lines) == 12
    assert "Close calls: 14." in said(app) and "And 2 more." in said(app)
    app.selectbox(key="limits_of").select("specialised").run()
    app.slider(key="limit:previous_token").set_value(0.9).run()
    assert "No close calls: no interval contains its limit." in said(app)
    app.slider(key="limit:previous_token").set_value(0.5).run()
    assert "Close calls: 14." in said(app)


def test_lists_name_what_removal_showed(open_app: OpenApp, quickly: None) -> None:
    app = diagnosed(open_app)
    words = said(app)
    assert "Needed: " in words and "nats per token" in words
    assert any(one.label == "Heads to prune (JSON)" for one in app.get("download_button"))
    app = open_app(DIAGNOSE)
    app.session_state["diagnose_ways"] = []
    app.run()
    wait(press(app, "Diagnose"))
    assert not app.exception


def test_the_form_is_one_line_after_a_run(open_app: OpenApp, quickly: None) -> None:
    app = open_app(DIAGNOSE)
    form = next(one for one in app.expander if "Diagnose" in one.label)
    assert form.proto.expanded
    wait(press(app, "Diagnose")).run()  # the job may have ended within the last run
    form = next(one for one in app.expander if one.label.endswith("change"))
    assert "60 texts" in form.label
    assert not form.proto.expanded
    app.session_state[SOURCE] = "Typed here"
    app.run().run()
    assert next(one for one in app.expander if "Diagnose" in one.label).proto.expanded
    app.session_state[SOURCE] = "Bundled"
    app.run().run()
    assert not next(one for one in app.expander if one.label.endswith("change")).proto.expanded
    app.selectbox(key="model").set_value("llama-classroom").run()
    assert next(one for one in app.expander if "Diagnose" in one.label).proto.expanded


def test_texts_of_ones_own_stay_out_of_link_and_files(open_app: OpenApp, quickly: None) -> None:
    secret = "zebra-secret-4711"
    app = open_app(DIAGNOSE)
    type_texts(app, f"{secret} one\n{secret} two\n\n{secret} one")
    assert "2 texts" in said(app) and "1 repeated line was left out" in said(app)
    wait(press(app, "Diagnose"))
    assert "degenerate but is needed" in said(app)
    assert secret not in str(app.query_params)
    (diagnosis,) = [job.value for job in long_jobs.long_jobs()._jobs.values()]
    for written in (diagnosis.html(), diagnosis.csv(), str(diagnosis.plain())):
        assert secret not in written
    app.switch_page("pages/learn/numbers.py").run()
    app.switch_page(DIAGNOSE).run()
    assert secret in app.text_area(key=TYPED).value


@pytest.mark.parametrize(
    ("texts", "answer"),
    [
        ("   \n ", "at least one text"),
        ("a\tb\tc", "has 2 tabs"),
        ("a text\tits target", "a model with one stack"),
        ("\n".join(f"text {number}" for number in range(1001)), "up to 1,000 are read here"),
    ],
)
def test_texts_that_cannot_be_read_are_refused_and_not_lost(
    open_app: OpenApp, quickly: None, texts: str, answer: str
) -> None:
    app = type_texts(open_app(DIAGNOSE), texts)
    assert not app.exception
    assert answer in said(app).replace("\\", "")
    assert "Diagnose" not in buttons(app)
    assert app.text_area(key=TYPED).value == texts


@pytest.mark.parametrize(
    ("name", "content", "answer"),
    [
        ("mine.txt", b"one text\nanother text\n", "2 texts"),
        ("empty.txt", b"", "it is empty"),
        ("latin.txt", "caf\xe9".encode("latin-1"), "is not UTF-8"),
        ("picture.txt", b"\x89PNG\0\0", "is not text"),
        ("one.txt", b"only one", "no interval can be given"),
    ],
)
def test_files(open_app: OpenApp, quickly: None, name: str, content: bytes, answer: str) -> None:
    app = open_app(DIAGNOSE)
    app.session_state[SOURCE] = "A file"
    app.run()
    app.file_uploader[0].set_value((name, content, "text/plain")).run()
    assert not app.exception
    assert answer in said(app).replace("\\", "")
    assert ("Diagnose" in buttons(app)) == (answer in ("2 texts", "no interval can be given"))


def test_cancel_stops_the_work(open_app: OpenApp, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()
    stage = "removing one head after the other"
    monkeypatch.setattr(page, "diagnose", endless(stage, stopped))
    app = press(open_app(DIAGNOSE), "Diagnose")
    time.sleep(0.2)
    app.run()
    assert "Removing one head after the other" in protos(app, "progress")
    assert "min left" in protos(app, "progress") or "s left" in protos(app, "progress")
    press(app, "Cancel")
    assert stopped.wait(20)
    app.run()
    assert "Diagnose" in buttons(app) and "Cancel" not in buttons(app)
    assert not app.exception


def test_refusals_become_messages_and_faults_do_not(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **options: Any) -> None:
        raise InputError("this model reads pictures")

    monkeypatch.setattr(page, "diagnose", refuse)
    app = wait(press(open_app(DIAGNOSE), "Diagnose"))
    assert "This model reads pictures." in said(app) and not app.exception
    assert "Diagnose" in buttons(app)

    def fail(*_: Any, **options: Any) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(page, "diagnose", fail)
    wait(press(app, "Diagnose"))
    assert app.exception
    assert not app.run().exception  # said once, and the way is free again


def test_without_ablation(open_app: OpenApp, quickly: None) -> None:
    app = open_app(DIAGNOSE)
    app.session_state["diagnose_ways"] = []
    app.run()
    wait(press(app, "Diagnose"))
    assert not app.exception
    words = said(app)
    assert "No removal was measured" in words and "there is no cost to show" in words
    assert not any(one.value.isna().all().any() for one in app.dataframe)  # no column of "None"


def test_a_real_diagnosis_of_a_model_without_a_trained_head_from_a_folder(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, gpt_folder: Path
) -> None:
    monkeypatch.setenv("ATTNVIZ_MODEL_FOLDERS", str(gpt_folder.parent))
    st.cache_resource.clear()
    app = open_app(DIAGNOSE, model=str(gpt_folder))
    type_texts(
        app,
        "The cat sat on the mat and the dog lay beside it.\n"
        "A small boat left the harbour before the sun came up.\n"
        "No one in the village remembered who had built the bridge.",
    )
    wait(press(app, "Diagnose"), 240)
    assert not app.exception, app.exception
    assert not app.error, app.error[0].value
    assert "12 heads" in said(app)
    assert len(app.get("plotly_chart")) == 4
