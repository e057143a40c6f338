"""Text of users and models stands on the pages as it is, whatever Markdown would make of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from attnviz.ui.session.plain_text import plain
from tests.app.conftest import OpenApp, shown_plain
from tests.hostile.inert import MARKS, save_model

CODE = re.compile(r"(?<!`)(`+) (.+?) \1(?!`)")
LITERAL = {
    "html", "text", "code", "text_area", "text_input", "selectbox", "bidi_component", "iframe",
    "plotly_chart", "arrow_data_frame", "dataframe",
}  # fmt: skip
"""Elements in which Streamlit interprets nothing; tooltips are Markdown everywhere."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "www.example.com")


def strings(proto: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name and text of every field of a message."""
    for field, value in proto.ListFields():
        for one in (
            value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
        ):
            if isinstance(one, str):
                yield field.name, one
            elif hasattr(one, "ListFields"):
                yield from strings(one)


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("frame", ["{}", "before {} after", "“{}”", "({}).", "{0} {0}", "'{}':"])
def test_nothing_but_code_has_a_meaning(mark: str, frame: str) -> None:
    text = frame.format(mark)
    written = plain(text)
    left = CODE.sub("", written)
    assert not re.search(r"[][*_`$\\<>|~#&@=]|\+(?!\d)|--|:\S|\.\w|^\d+[.)]|^- ", left), written
    assert CODE.sub(r"\2", written).replace("\u2060", "") == text
    assert ":material/" not in written


@given(some.text(some.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_is_code_or_harmless(text: str) -> None:
    left = CODE.sub("", plain(text))
    assert not re.search(r"[][*_`$\\<>|~#&@={}^]|\+(?!\d)|--|:[^\s.,;:!?\"')%]", left)
    assert "\n" not in left


def test_usual_words_stay_words() -> None:
    text = "Head L0·H1 looks at “fox” (0.86, not 50%): it's a previous-token head."
    assert plain(text) == text


def test_signed_numbers_stay_words() -> None:
    text = "L3·H7 (+0.013 before, -0.16 now), from -54 to (-3)."
    assert plain(text) == text
    assert plain("- 5") != "- 5"  # would be a list
    assert plain("+ 5") != "+ 5"


@pytest.mark.parametrize(
    "page",
    [
        "pages/explore/heads.py",
        "pages/compare/pair.py",
        "pages/explore/lines.py",
        "pages/explore/induction.py",
        "pages/diagnose/diagnosis.py",
        "pages/diagnose/two_models.py",
    ],
)
def test_pages_interpret_nothing(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, folder: Path, page: str
) -> None:
    monkeypatch.setenv("ATTNVIZ_MODEL_FOLDERS", str(folder.parent))
    app = open_app(model=str(folder))
    app.text_area[0].set_value(" ".join(MARKS)).run()
    if page != "pages/explore/heads.py":
        app.switch_page(page).run()
    else:
        app.session_state["token"] = MARKS.index(":smile:")
        app.run()
    assert not app.exception, app.exception
    assert_inert(app)
    if page == "pages/explore/heads.py":
        said = "\n".join(shown_plain(app))
        assert "“:smile:” looks at" in said
        assert said.count("“") > 6


def assert_inert(app: Any) -> None:
    """Fail where one of the marks stands in an element that interprets it."""
    for element in app.main, app.sidebar:
        for one in element:
            for name, value in strings(one.proto) if one.proto is not None else ():
                if name == "id" or (one.type in LITERAL and name != "help"):
                    continue
                left = CODE.sub("", value)
                for mark in MARKS:
                    if len(mark) > 3 or mark in ("->", "<-", ">="):
                        assert mark not in left, (one.type, name, value)


def test_a_refused_name_is_shown_as_it_is(open_app: OpenApp) -> None:
    for mark in MARKS:
        app = open_app(model=f"x {mark}")
        assert not app.exception
        assert_inert(app)


def test_texts_of_a_diagnosis_are_shown_by_their_file_name(open_app: OpenApp) -> None:
    app = open_app("pages/diagnose/diagnosis.py")
    app.segmented_control(key="diagnose_source").set_value("A file").run()
    app.file_uploader[0].upload("www.example.com :smile: a->b.txt", b"", "text/plain").run()
    assert "www.example.com" in app.error[0].value
    assert_inert(app)
