"""Classifiers and other models without a language head in the app."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.app.conftest import OpenApp, maps, said
from tests.models.small import saved

KINDS = {
    "T5ForSequenceClassification": ("T5", True),
    "GPT2ForSequenceClassification": ("GPT2", False),
    "BertForSequenceClassification": ("Bert", True),
    "T5EncoderModel": ("T5", True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_without_a_language_head(
    open_app: OpenApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Its map is shown, it takes a second sentence or none, and predicts no tokens."""
    family, pairs = KINDS[kind]
    monkeypatch.setenv("ATTNVIZ_MODEL_FOLDERS", str(tmp_path))
    app = open_app(model=saved(tmp_path / "mine", kind, family))
    assert not app.exception
    assert not app.error
    assert maps(app)
    assert ("Second sentence" in [one.label for one in app.text_input]) == pairs
    assert "Output" not in [one.label for one in app.text_input]
    assert "the model expects" not in said(app)
