"""Diagnosis that was running when the server stopped: a message that it is lost."""

from __future__ import annotations

import pytest

from attnviz.ui.jobs import lost_work
from tests.app.conftest import OpenApp, said

LOST = "its result is lost"
DIAGNOSIS = "pages/diagnose/diagnosis.py"


@pytest.mark.parametrize("page", [None, DIAGNOSIS, "pages/learn/numbers.py"])
def test_a_mark_of_an_earlier_process_is_said_and_taken_away(
    open_app: OpenApp, page: str | None
) -> None:
    app = open_app(running="0123abcd")
    if page:
        app.switch_page(page).run()
    assert LOST in said(app)
    assert "running" not in app.query_params


def test_a_mark_of_this_process_is_no_loss(open_app: OpenApp) -> None:
    lost_work._GIVEN.add("4567abcd")
    assert LOST not in said(open_app(running="4567abcd"))
    assert LOST not in said(open_app())


def test_a_running_diagnosis_marks_the_address_until_it_is_cancelled(open_app: OpenApp) -> None:
    app = open_app(running="0123abcd")
    app.switch_page(DIAGNOSIS).run()
    app.button(key="start:Diagnose").click().run()
    assert LOST not in said(app)
    mark = app.query_params["running"]
    assert (mark if isinstance(mark, str) else mark[0]) in lost_work._GIVEN
    next(one for one in app.button if one.label == "Cancel").click().run()
    app.run()
    assert "running" not in app.query_params
