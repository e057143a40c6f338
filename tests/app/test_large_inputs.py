"""Inputs that are too large: cut or refused before they are tokenised, parsed once, and said."""

from __future__ import annotations

import time

import pytest

from attnviz.ui.diagnose import text_choice
from attnviz.ui.session import model_cache
from attnviz.ui.session.model_cache import Request, most_characters
from tests.app.conftest import OpenApp, said

DIAGNOSE = "pages/diagnose/diagnosis.py"
HUGE = "word " * 2_000_000  # 10 MB


@pytest.mark.parametrize(
    ("model", "field"),
    [
        ("gpt-classroom", "text"),
        ("bert-classroom", "text"),
        ("bert-classroom", "second"),
        ("t5-classroom", "text"),
        ("t5-classroom", "second"),
    ],
)
def test_a_huge_text_is_cut_before_it_is_tokenised(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, model: str, field: str
) -> None:
    read: list[int] = []
    capture = model_cache.capture

    def spied(model: object, text: str, **options: object) -> object:
        read.append(sum(len(one or "") for one in (text, options["pair"], options["target"])))
        return capture(model, text, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(model_cache, "capture", spied)
    monkeypatch.setattr(model_cache, "MAX_TOKENS", 64)
    app = open_app(model=model)
    widget = app.text_area[0] if field == "text" else app.sidebar.text_input[0]
    widget.set_value(HUGE).run()
    assert not app.exception and not app.error
    assert max(read) <= 2 * most_characters() + 100
    (warning,) = [one.value for one in app.warning]
    assert "too long" in warning and f"{most_characters():,} characters" in warning
    assert f"{len(HUGE) - most_characters():,}" in warning


def test_a_request_holds_no_more_than_can_be_read() -> None:
    request = Request("gpt-classroom", HUGE, pair=HUGE, target="short")
    assert len(request.text) == len(request.pair) == most_characters()
    assert request.left_out == 2 * (len(HUGE) - most_characters())
    assert request == Request("gpt-classroom", request.text, request.pair, "short")
    assert most_characters() == model_cache.CHARACTERS_PER_TOKEN * model_cache.MAX_TOKENS


def test_a_text_within_the_limit_is_whole() -> None:
    assert Request("gpt-classroom", "a" * most_characters()).left_out == 0


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"a\n" * 1_000_000, "1,000,000 line breaks, and up to 1,000 are read here"),
        (b"\r" * 1_000_000, "1,000,000 line breaks"),
        (b"word " * 900_000, "4,500,000 bytes, and up to 400,000 characters are read here"),
        (b"\n".join(b"%d " % n + b"word " * 100 for n in range(999)), "characters together"),
    ],
)
def test_an_upload_is_parsed_once_and_a_huge_one_never(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, content: bytes, answer: str
) -> None:
    parsed: list[str] = []
    parse = text_choice.parse_texts
    monkeypatch.setattr(
        text_choice,
        "parse_texts",
        lambda content, name: parsed.append(name) or parse(content, name),
    )
    app = open_app(DIAGNOSE)
    app.segmented_control(key=text_choice.SOURCE).set_value("A file").run()
    app.file_uploader[0].upload("mine.txt", content, "text/plain").run()
    for _ in range(3):
        assert answer in said(app).replace("\\", ""), said(app)
        begun = time.monotonic()
        app.run()
        assert time.monotonic() - begun < 10
    assert len(parsed) == ("together" in answer)


def test_typed_texts_are_parsed_once_and_bounded_together(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    parse = text_choice.parse_texts
    monkeypatch.setattr(
        text_choice,
        "parse_texts",
        lambda content, name: parsed.append(name) or parse(content, name),
    )
    app = open_app(DIAGNOSE)
    app.segmented_control(key=text_choice.SOURCE).set_value("Typed here").run()
    field = app.text_area(key="diagnose_typed:decoder")
    field.set_value("one text\nanother text").run()
    app.run()
    app.run()
    assert len(parsed) == 1
    assert "2 texts of 20 characters" in said(app)
    app.text_area(key="diagnose_typed:decoder").set_value(HUGE).run()
    assert "characters are read here" in said(app).replace("\\", "")
    assert not app.exception and len(parsed) == 1
