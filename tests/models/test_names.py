"""Names that mean nothing get a sentence, fast, and never a traceback."""

from __future__ import annotations

import time

import pytest

import attnviz
from attnviz.errors import AttnvizError, ModelNotFound, ModelOffline

NONSENSE = [
    *("", " ", "\n", "a b", "a  b/c", "org/", "/model", "//", "org//model", "-", "--", "..", "."),
    *("../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", "C:\\models", "file:///etc/passwd"),
    *("javascript:alert(1)", "<script>alert(1)</script>", "https://example.org/model", "a" * 100),
    *("a" * 5000, "a/" * 3000, "~", "~no-user-of-this-name", "$HOME", "%s", "{}", "{0.__class__}"),
    *("мова/модель", "模型", "💥", "org/💥", "a\x00b", "\x00", "/\x00", "\x1b[31m", "a\u202eb"),
    *("model.safetensors", "con", "None", "null", "-rf", "; ls", "`ls`", "a/b/c", "a/b/c/d"),
    *("org/model@main", "org/model:main", "gpt-classroom/", "gpt classroom", "\ud800", "/\ud800"),
]


@pytest.mark.parametrize("allowed", [None, []], ids=["anywhere", "allowed folders only"])
@pytest.mark.parametrize("name", NONSENSE, ids=lambda name: repr(name)[:24])
def test_nonsense_gets_a_sentence(name: str, allowed: list | None) -> None:
    started = time.monotonic()
    with pytest.raises(AttnvizError) as caught:
        attnviz.load(name, allowed_folders=allowed)
    assert time.monotonic() - started < 5
    sentence = str(caught.value)
    assert " " in sentence
    assert len(sentence) > 30
    assert len(sentence) < 500
    assert sentence.isprintable()


@pytest.mark.parametrize("name", ["", "  ", "\n"])
def test_no_name_at_all(name: str) -> None:
    with pytest.raises(ModelNotFound, match="name"):
        attnviz.load(name)


@pytest.mark.parametrize("name", ["nowhere/no-such-model", "no-such-model", "connect-four"])
def test_a_hub_name_without_a_network(name: str) -> None:
    started = time.monotonic()
    with pytest.raises(ModelOffline, match=rf"'{name}' is not on this machine.*classroom"):
        attnviz.load(name)
    assert time.monotonic() - started < 2
