"""Messages as sentences."""

from __future__ import annotations

import pytest

from attnviz.sentences import capitalized, sentence


@pytest.mark.parametrize(
    ("message", "written"),
    [
        ("the text is empty", "The text is empty."),
        ("the text is empty.", "The text is empty."),
        ("two texts? type one", "Two texts? type one."),
        ("Which one?", "Which one?"),
        ("gpt-classroom reads no targets", "gpt-classroom reads no targets."),
        ("org/model is not here", "org/model is not here."),
        ("t5 has none", "t5 has none."),
        ("'x' is no layer", "'x' is no layer."),
        ("12 heads are missing", "12 heads are missing."),
        ("äußerst", "äußerst."),
        ("no", "No."),
        ("", "."),
    ],
)
def test_a_message_begins_large_and_ends_with_a_mark(message: str, written: str) -> None:
    assert sentence(message) == written
    assert capitalized(message) == written.removesuffix(".") or message.endswith(".")
