"""Texts of errors on a page: shown as they are, with nothing interpreted in them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.app.test_plain_text import CODE

UI = Path(__file__).parents[2] / "attnviz" / "ui"
MARKDOWN = {"info", "warning", "error", "caption", "markdown", "success", "write", "toast"}
HOSTILE = "*every* [model](http://127.0.0.1) :material/home: `x` $y$ has none"


def unescaped(tree: ast.AST) -> list[int]:
    """Return the lines of messages into which the text of an error goes as Markdown."""
    lines = []
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        if call.func.attr in MARKDOWN and call.args and _holds_error(call.args[0]):
            lines.append(call.lineno)
    return lines


def _holds_error(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id == "plain":
            return False
        if node.func.id == "str" and ast.unparse(node.args[0]) == "error":
            return True
    return any(_holds_error(child) for child in ast.iter_child_nodes(node))


def test_no_error_is_read_as_markdown() -> None:
    lines = {path.name: unescaped(ast.parse(path.read_text())) for path in UI.rglob("*.py")}
    assert {name: numbers for name, numbers in lines.items() if numbers} == {}


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("st.info(str(error))", [1]),
        ("st.info(f'{str(error)[:1]}.')", [1]),
        ("place.caption(sentence(str(error)))", [1]),
        ("st.info(plain(str(error)))", []),
        ("st.info(f'{plain(str(error))}. Undo.')", []),
    ],
)
def test_the_check_sees_errors_that_are_not_escaped(code: str, lines: list[int]) -> None:
    assert unescaped(ast.parse(code)) == lines


def reason_and_result(hostile: str) -> None:
    """Show a reason and a result, as a page does."""
    import streamlit as st

    from attnviz.ui.session.error_messages import show_or_reason, show_reason

    show_or_reason(hostile, st.text)
    show_or_reason(3, st.text)
    show_reason("nothing is here")


def test_a_reason_stands_in_place_of_a_result() -> None:
    app = AppTest.from_function(reason_and_result, args=(HOSTILE,)).run()
    assert [one.value for one in app.text] == ["3"]
    hostile, plain_words = (one.value for one in app.info)
    assert plain_words == "Nothing is here."
    assert CODE.sub(r"\2", hostile).replace("\u2060", "") == f"{HOSTILE}."
    assert not re.search(r"[][*_$]|:\S", CODE.sub("", hostile))
