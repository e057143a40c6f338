"""Bad input of a class: each gets a sentence, nothing breaks, nothing runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import ViTConfig, ViTModel

from tests.app.conftest import OpenApp, said

SCRIPT = '</script><img src=x onerror="alert(1)">'
ODD = {
    "control characters": "one\x00 two\x1b[31m three\x07",
    "right to left": "שלום עולם \u202eabc\u202c مرحبا",
    "emoji": "I like 🍎 and 👩‍👩‍👧‍👦 and 🇫🇷 and 🍎",
    "markup": SCRIPT + " **bold** [link](http://x) $x^2$ :red[x]",
    "one token": "a",
    "template": "%{x} {0} {{y}} <b>z</b> &amp;",
}


@pytest.mark.parametrize("model", ["gpt-classroom", "bert-classroom", "t5-classroom"])
@pytest.mark.parametrize("text", ["", "   \n\t "])
def test_empty_text_asks_for_one(open_app: OpenApp, model: str, text: str) -> None:
    app = open_app(model=model)
    app.text_area[0].set_value(text).run()
    assert not app.exception
    assert not app.error
    assert "There is no text; type at least one word" in said(app)


@pytest.mark.parametrize("model", ["gpt-classroom", "bert-classroom", "t5-classroom"])
@pytest.mark.parametrize("name", ODD)
def test_odd_text_is_shown_as_it_is(open_app: OpenApp, model: str, name: str) -> None:
    app = open_app(model=model)
    app.text_area[0].set_value(ODD[name]).run()
    assert not app.exception
    assert not app.error
    for element in app.markdown:
        assert not element.allow_html
        assert "<img" not in element.value


@pytest.mark.parametrize("model", ["gpt-classroom", "bert-classroom", "t5-classroom"])
def test_long_text_is_cut_and_says_by_how_much(open_app: OpenApp, model: str) -> None:
    app = open_app(model=model)
    app.text_area[0].set_value("word " * 5000).run()
    assert not app.exception
    warning = app.warning[0].value
    cut = int("".join(digit for digit in warning if digit.isdigit()))
    assert 4000 < cut < 30000
    assert "too long" in warning


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../../etc", "its model folders only"),
        ("/etc", "its model folders only"),
        ("~/secrets", "its model folders only"),
        ("no-such-org/no-such-model", "hub"),
        ("a b c", "neither a listed model"),
        ("<script>alert(1)</script>", "neither a listed model"),
    ],
)
def test_bad_model_names_are_explained(open_app: OpenApp, name: str, says: str) -> None:
    app = open_app(model=name)
    assert not app.exception
    assert says in said(app).replace("\\", "")


def test_a_folder_with_a_pickle_only_is_refused(
    open_app: OpenApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "stranger"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04would run")
    monkeypatch.setenv("ATTNVIZ_MODEL_FOLDERS", str(tmp_path))
    app = open_app(model=str(folder))
    assert not app.exception
    assert "a pickle" in said(app).replace("\\", "")


def test_a_model_of_pictures_is_not_for_these_pages(
    open_app: OpenApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        image_size=8, patch_size=4,
    )  # fmt: skip
    ViTModel(config).save_pretrained(tmp_path / "vit")
    monkeypatch.setenv("ATTNVIZ_MODEL_FOLDERS", str(tmp_path))
    app = open_app(model=str(tmp_path / "vit"))
    assert not app.exception
    assert "these pages show texts" in said(app).replace("\\", "")
