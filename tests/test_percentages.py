"""Shares in percent: decimals near both ends, and nothing that is rounded to 0% or 100%."""

from __future__ import annotations

import pytest

from attnviz.percentages import percent


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (1.0, "100%"),
        (0.99999, ">99.9%"),
        (0.998, "99.8%"),
        (0.674, "67%"),
        (0.0996, "10%"),
        (0.057, "5.7%"),
        (0.0006, "0.1%"),
        (0.0004, "<0.1%"),
        (0, "0%"),
    ],
)
def test_small_shares_keep_a_decimal(share: float, shown: str) -> None:
    assert percent(share) == shown
