"""Bars of probabilities: percentages, widths, and words for people who do not see them."""

from __future__ import annotations

from typing import Any

import pytest

from attnviz.errors import InputError
from attnviz.ui.components import token_bars as module
from attnviz.ui.components.token_bars import token_bars


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the list of what has been sent to the browser."""
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(module, "_bars", lambda data, key: messages.append(data))
    return messages


def test_the_longest_bar_fills_the_width_and_all_numbers_are_said(
    sent: list[dict[str, Any]],
) -> None:
    token_bars(["·a", "·b"], {"all heads": [0.5, 0.2], "without": [0.25, 0.4]}, key="bars")
    (data,) = sent
    assert data["rows"][0]["widths"] == pytest.approx([1.0, 0.5])
    assert data["rows"][1]["widths"] == pytest.approx([0.4, 0.8])
    assert data["rows"][1]["shares"] == ["20%", "40%"]
    assert len(set(data["colors"])) == 2
    for part in ("a", "50% (all heads)", "25% (without)", "40% (without)"):
        assert part in data["alt"]


def test_states_need_a_number_per_token(sent: list[dict[str, Any]]) -> None:
    with pytest.raises(InputError, match="1 probabilities for 2 tokens"):
        token_bars(["a", "b"], {"x": [0.1]}, key="bars")
    assert not sent


def test_no_probability_draws_no_bar(sent: list[dict[str, Any]]) -> None:
    token_bars(["a"], {"x": [0.0]}, key="bars")
    assert sent[0]["rows"][0]["widths"] == [0.0]
