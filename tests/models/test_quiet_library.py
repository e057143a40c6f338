"""Keep bars and hints of the library out of a log; downloads keep the bars that are counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from huggingface_hub.utils import are_progress_bars_disabled
from transformers.utils import logging

import attnviz
from attnviz.models import quiet_library


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Put the library's settings back."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    yield
    logging.set_verbosity(level)
    if bars:
        logging.enable_progress_bar()


def test_loading_writes_nothing_and_downloads_keep_their_bars(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    logging.enable_progress_bar()
    quiet_library()
    attnviz.load("hybrid-classroom")
    assert capfd.readouterr().err == ""
    assert not are_progress_bars_disabled()


def test_the_level_that_was_asked_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    logging.set_verbosity_warning()
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "warning")
    quiet_library()
    assert logging.get_verbosity() == logging.WARNING
