"""Jensen-Shannon divergence between the rows of two heads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from attnviz.errors import CaptureError
from attnviz.metrics import jensen_shannon
from tests.bounds import SAME


def rows(seed: int, sparse: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    drawn = random.dirichlet(np.full(9, 0.3), 7)
    drawn[random.random(drawn.shape) < sparse] = 0.0
    drawn[:, 0] += 1e-3
    return (drawn / drawn.sum(-1, keepdims=True)).astype(np.float32)


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 0.9]))
def test_equals_scipy(one: int, other: int, sparse: float) -> None:
    p, q = rows(one, sparse), rows(other, sparse)
    expected = [
        jensenshannon(a.astype(float), b.astype(float)) ** 2 for a, b in zip(p, q, strict=True)
    ]
    np.testing.assert_allclose(jensen_shannon(p, q), np.nan_to_num(expected), atol=SAME)


def test_zero_for_equal_rows_and_ln_2_for_disjoint_ones() -> None:
    left, right = np.eye(4, dtype=np.float32)[:2], np.eye(4, dtype=np.float32)[2:]
    assert not jensen_shannon(left, left).any()
    np.testing.assert_allclose(jensen_shannon(left, right), math.log(2), rtol=SAME)


@given(st.integers(0, 1000))
def test_symmetric_and_bounded(seed: int) -> None:
    p, q = rows(seed), rows(seed + 1)
    there, back = jensen_shannon(p, q), jensen_shannon(q, p)
    np.testing.assert_allclose(there, back, atol=SAME)
    assert (there >= 0).all()
    assert (there <= math.log(2) + SAME).all()


def test_weight_of_a_learned_sink_does_not_count() -> None:
    """Rows that sum to less than one are normalised first."""
    p, q = rows(1), rows(2)
    np.testing.assert_allclose(jensen_shannon(0.2 * p, q), jensen_shannon(p, q), atol=SAME)


def test_a_row_without_weight_has_no_divergence() -> None:
    p, q = rows(1), rows(2)
    p[3] = 0
    assert np.isnan(jensen_shannon(p, q)).tolist() == [row == 3 for row in range(7)]


def test_maps_of_different_shapes_are_refused() -> None:
    with pytest.raises(CaptureError, match=r"7 x 9.*7 x 8"):
        jensen_shannon(rows(1), rows(1)[:, :8])
