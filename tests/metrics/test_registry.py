"""Descriptions of metrics, and the error for an unknown name."""

from __future__ import annotations

import numpy as np
import pytest

from attnviz import metrics
from attnviz.errors import CaptureError
from tests.engine.handmade import from_scores


@pytest.mark.parametrize("name", metrics.names())
def test_every_metric_is_described(name: str) -> None:
    about = metrics.describe(name)
    assert about.name == name
    assert about.label[0].isupper()
    assert about.unit in ("nats", "tokens", "")
    assert about.meaning.endswith(".")
    assert about.phrase.count("{value}") == 1
    assert about.phrase.format(value="0.5")[0].islower()


def test_names_and_labels_differ() -> None:
    names = metrics.names()
    labels = {metrics.describe(name).label for name in names}
    assert len(labels) == len(names) == len(set(names))


def test_the_promised_metrics_exist() -> None:
    promised = "entropy normalized_entropy max_weight sink previous_token next_token self"
    promised += " duplicate_token induction mean_distance"
    assert set(promised.split()) <= set(metrics.names())


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    stack = from_scores(np.zeros((1, 1, 2, 2)))
    for ask in (metrics.per_row, metrics.per_head):
        with pytest.raises(CaptureError, match=r"no metric 'entropie'.*normalized_entropy"):
            ask("entropie", stack)
    with pytest.raises(CaptureError, match="no metric ''"):
        metrics.describe("")
