"""Divergence of two predictions, beside a sum over tokens."""

from __future__ import annotations

import math

import pytest
import torch

from attnviz.experiments.prediction_divergence import prediction_divergence


def test_it_equals_the_sum_over_tokens() -> None:
    first, second = torch.randn(2, 5, 30, dtype=torch.float64).log_softmax(-1)
    divergence = prediction_divergence(first, second)
    for place in range(5):
        shares = [math.exp(one) for one in first[place].tolist()]
        logs = zip(first[place].tolist(), second[place].tolist(), strict=True)
        expected = sum(
            share * (one - other) for share, (one, other) in zip(shares, logs, strict=True)
        )
        assert divergence[place].item() == pytest.approx(expected, rel=1e-12)
    assert prediction_divergence(first, first).tolist() == [0.0] * 5


def test_tokens_that_both_exclude_count_as_zero() -> None:
    first = torch.tensor([0.0, 1.0, -math.inf]).log_softmax(-1)
    second = torch.tensor([1.0, 0.0, -math.inf]).log_softmax(-1)
    expected = prediction_divergence(first[:2], second[:2])
    assert prediction_divergence(first, second).item() == pytest.approx(expected.item())
