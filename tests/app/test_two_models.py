"""Two models page: a model beside a model that was made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnviz.doctor import TextSet, Thresholds
from attnviz.doctor.comparison import Comparison
from attnviz.doctor.measures.bootstrap import intervals
from attnviz.doctor.measures.text_losses import TextLosses
from attnviz.findings import Progress
from attnviz.models import Model
from attnviz.ui.diagnose import two_models_page as page
from tests.app.conftest import OpenApp, clickable, said
from tests.app.diagnosis_samples import make_diagnosis
from tests.app.test_diagnose import buttons, press, wait

TWO = "pages/diagnose/two_models.py"


def quick(
    first: Model,
    second: Model,
    texts: TextSet,
    *,
    ablate: bool,
    seed: int,
    progress: Callable[[Progress], None],
) -> Comparison:
    """Return a made-up comparison: in the second model no head is uniform any more."""
    before, after = make_diagnosis(first, texts), make_diagnosis(second, texts)
    after = replace(after.relabelled(Thresholds(uniform_entropy=0.995)), thresholds=Thresholds())
    random = np.random.default_rng(0)
    moved = {
        kind: intervals(random.uniform(0, 0.3, (*size, 9)))
        for kind, size in first.info.heads.items()
    }
    return Comparison(before, after, moved, moved, ("a note",))


def test_both_maps_and_what_has_changed(open_app: OpenApp, monkeypatch: Any) -> None:
    monkeypatch.setattr(page, "compare", quick)
    monkeypatch.setattr(Comparison, "relabelled", lambda self, thresholds: self)
    app = open_app(TWO)
    assert app.selectbox(key="second").value == "french-classroom"
    app.selectbox(key="second").set_value("gpt-classroom").run()
    assert "Both are the same model" in said(app)
    assert "Compare" not in buttons(app)
    app.selectbox(key="second").set_value("llama-classroom").run()
    wait(press(app, "Compare"))
    assert not app.exception
    words = said(app).replace("\\", "")
    assert "1 of 32 heads has another label." in words
    assert "L0·H1 was “uniform” and is “positional”: it no longer looks degenerate." in words
    assert "None became degenerate, none recovered." in words
    assert "A note" in words
    assert len(app.get("plotly_chart")) == 3
    assert clickable(app) == ["map_before", "map_after", "divergence_map"]
    assert (app.selectbox(key="layer").value, app.selectbox(key="head").value) == (0, 1)
    assert list(app.dataframe[0].value["change"]) == ["clear"]
    assert not app.dataframe[0].value.isna().all().any()  # no column of unknown numbers
    app.toggle(key="two_changed").set_value(False).run()
    assert len(app.dataframe[0].value) == 32
    assert list(app.dataframe[0].value["divergence"]) == sorted(
        app.dataframe[0].value["divergence"], reverse=True
    )


def test_a_broken_model_is_named_first(open_app: OpenApp, monkeypatch: Any) -> None:
    def broken(*arguments: Any, **options: Any) -> Comparison:
        comparison = quick(*arguments, **options)
        losses = TextLosses(np.full(3, np.nan), np.full(3, 9), "")
        return replace(comparison, second=replace(comparison.second, losses=losses))

    monkeypatch.setattr(page, "compare", broken)
    app = open_app(TWO)
    app.selectbox(key="second").set_value("llama-classroom").run()
    wait(press(app, "Compare"))
    assert not app.exception
    (error,) = app.error
    said_there = error.value.replace("\\", "")
    assert said_there.startswith("llama-classroom: the loss is NaN or infinite on all 3 texts")
    assert "llama-classroom is broken" in said(app).replace("\\", "")


def test_models_that_cannot_be_compared_are_refused(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_app(TWO)
    app.selectbox(key="second").set_value("bert-classroom").run()
    wait(press(app, "Compare"))
    assert not app.exception
    words = said(app).replace("\\", "")
    assert "gpt-classroom is a decoder and bert-classroom an encoder: only two models of" in words
    assert "Compare" in buttons(app)


def test_a_second_model_that_is_not_there(open_app: OpenApp) -> None:
    app = open_app()
    app.session_state["second"] = "/etc/passwd"
    app.switch_page(TWO).run()
    assert not app.exception
    assert app.error
