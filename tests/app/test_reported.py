"""Components' messages: types, ranges and depth are checked, and a broken one is no click."""

from __future__ import annotations

from typing import Any

import pytest
import streamlit as st
from hypothesis import given
from hypothesis import strategies as some

from attnviz.attention.stack.map_tiles import Window
from attnviz.types import Head
from attnviz.ui.components import plotly_map
from attnviz.ui.components.checked_reports import first_item, index, record
from attnviz.ui.diagnose import head_table
from attnviz.ui.explore import head_picker

FIELDS = ["selection", "points", "rows", "customdata", "cell", "row", "column", "text"]

JSON: some.SearchStrategy[Any] = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(
        some.sampled_from(FIELDS)
        | some.text(max_size=3),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(JSON, some.integers(0, 5))
def test_an_index_is_a_whole_number_in_its_range(value: object, count: int) -> None:
    number = index(value, count)
    assert number is None or (type(value) is int and number == value and 0 <= number < count)
    assert index(True, 5) is None and index(1.0, 5) is None and index(3, 5) == 3


@given(JSON)
def test_records_and_first_items_of_anything(value: object) -> None:
    assert isinstance(record(value, "selection", "points"), dict)
    first_item(value)
    assert record({"a": {"b": {"c": 1}}}, "a", "b") == {"c": 1}


@given(JSON)
def test_windows_of_anything(value: object) -> None:
    window = Window.read(value, (10, 10))
    assert window is None or (0 <= window.query_start < window.query_stop <= 10)
    assert Window.read([True, 5, 0, 5], (10, 10)) is None
    assert Window.read([0, 5, 0, 5], (10, 10)) == Window(0, 5, 0, 5)


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    cells: list[object] = []
    monkeypatch.setattr(head_picker.state, "choose_head", cells.append)
    return cells


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    held: dict[str, object] = {}
    monkeypatch.setattr(st, "session_state", held)
    return held


BROKEN = [
    None, 5, "x", [], {}, {"selection": None}, {"selection": 5}, {"selection": {"points": 5}},
    {"selection": {"points": [5], "rows": ["x"]}, "cell": 5},
    {"selection": {"points": [{"customdata": 5}], "rows": [[1]]}, "cell": [1]},
    {"selection": {"points": [{"customdata": [1]}], "rows": [-1]}, "cell": {}},
    {"selection": {"points": [{"customdata": [True, 1]}], "rows": [True]},
     "cell": {"text": "t", "row": True, "column": 1}},
    {"selection": {"points": [{"customdata": ["1", "1"]}], "rows": [1.0]},
     "cell": {"text": "t", "row": "1", "column": 1}},
    {"selection": {"points": [{"customdata": [float("nan"), 1]}], "rows": [float("inf")]},
     "cell": {"text": "t", "row": 10**20, "column": 1}},
    {"selection": {"points": [{"customdata": [-1, 10**9]}], "rows": [10**9]},
     "cell": {"text": [], "row": 1, "column": 1}},
]  # fmt: skip


@pytest.mark.parametrize("message", BROKEN, ids=repr)
def test_a_broken_click_is_no_click(
    session: dict[str, object], chosen: list[object], message: object
) -> None:
    session["key"] = message
    head_picker._take_click("key", "self")
    head_table._take_head("key", (Head("self", 0, 0), Head("self", 0, 1)))
    plotly_map._take_cell("key", "t", (4, 4), lambda row, column: chosen.append((row, column)))
    assert chosen == []


def test_a_sound_click_is_one(session: dict[str, object], chosen: list[object]) -> None:
    session["key"] = {
        "selection": {"points": [{"customdata": [1, 2]}], "rows": [1]},
        "cell": {"text": "t", "row": 3, "column": 0},
    }
    head_picker._take_click("key", "self")
    head_table._take_head("key", (Head("self", 0, 0), Head("self", 0, 1)))
    plotly_map._take_cell("key", "t", (4, 4), lambda row, column: chosen.append((row, column)))
    assert chosen == [Head("self", 1, 2), Head("self", 0, 1), (3, 0)]
