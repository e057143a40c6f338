"""Linformer, Performer, Nyströmformer, linear attention, state spaces, and wrong inputs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from attnviz import efficient
from attnviz.efficient.methods.linear import recurrent_attention
from attnviz.efficient.methods.linformer import projection_matrix
from attnviz.efficient.methods.performer import positive_features, random_directions
from attnviz.efficient.methods.result import prepare
from attnviz.efficient.methods.state_space import implicit_matrix, scan
from attnviz.errors import InputError
from tests.efficient.test_exact_methods import BOUND, vectors


def test_linformer_is_exact_for_the_identity_and_a_permutation_only():
    q, k, v = vectors()
    true = efficient.run("exact", q, k, v, causal=False).output
    for projection in ("identity", "permutation"):
        result = efficient.run("linformer", q, k, v, causal=False, rank=23, projection=projection)
        assert result.exact
        assert (result.output - true).abs().max() < 1e-10
    square = efficient.run("linformer", q, k, v, causal=False, rank=23, projection="orthogonal")
    assert not square.exact
    assert (square.output - true).abs().max() > 0.01
    assert square.details["theorem_error"] < 1e-10  # Eᵀ E = I: the theorem's object is exact


def test_linformer_error_of_the_theorem_falls_with_the_rank():
    q, k, v = vectors(queries=200)
    errors = [
        np.mean(
            [
                efficient.run("linformer", q, k, v, causal=False, rank=rank, seed=s).details[
                    "theorem_error"
                ]
                for s in range(8)
            ]
        )
        for rank in (8, 32, 128)
    ]
    assert errors[0] > errors[1] > errors[2]
    # The theorem's object by numpy: P Eᵀ E V beside P V.
    scores = (q @ k.mT / math.sqrt(8)).numpy()
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    e = projection_matrix(32, 200, "gaussian", 7).numpy()
    apart = np.linalg.norm(p @ e.T @ e @ v.numpy() - p @ v.numpy()) / np.linalg.norm(p @ v.numpy())
    ours = efficient.run("linformer", q, k, v, causal=False, rank=32, seed=7)
    assert ours.details["theorem_error"] == pytest.approx(apart, abs=1e-10)
    assert e.var() * 32 == pytest.approx(1, rel=0.05)
    # The error of a Gaussian projection falls as 1 / sqrt(rank): by 2 for each factor of 4.
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.35)


@pytest.mark.parametrize("features", [16, 64, 256])
def test_performer_estimates_without_bias_with_the_error_of_the_paper(features):
    generator = torch.Generator().manual_seed(0)
    x, y = (0.5 * torch.randn(1, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    draws = 4000
    directions = random_directions(features * draws, 6, 1, False).reshape(draws, features, 6)
    estimates = torch.stack(
        [(positive_features(x, one) * positive_features(y, one)).sum() for one in directions]
    )
    true = torch.exp((x * y).sum())
    size = ((x + y) ** 2).sum()
    expected = torch.exp(size) * true**2 * (1 - torch.exp(-size)) / features
    error = (estimates - true).square()
    assert abs(estimates.mean() - true) < 5 * estimates.std() / math.sqrt(draws)
    assert abs(error.mean() - expected) < 5 * error.std() / math.sqrt(draws)


def test_a_normalised_row_of_performer_is_biased():
    """Each kernel is right on average; the mean of a weight is not its exact value."""
    q, k, v = vectors(queries=6, sharp=2.0)
    exact = torch.nan_to_num(efficient.run("exact", q, k, v).weights)[-1]
    drawn = torch.stack(
        [
            torch.nan_to_num(
                efficient.run("performer", q, k, v, features=8, seed=s, orthogonal=False).weights
            )[-1]
            for s in range(1500)
        ]
    )
    error = drawn.std(0) / math.sqrt(len(drawn))
    assert float(((drawn.mean(0) - exact).abs() / error).max()) > 8  # far outside of sampling


def test_performer_approaches_exact_attention_and_orthogonal_features_help():
    q, k, v = vectors(queries=40)
    true = efficient.run("exact", q, k, v).output

    def error(features, orthogonal):
        runs = [
            efficient.run(
                "performer", q, k, v, features=features, seed=s, orthogonal=orthogonal
            ).output
            for s in range(12)
        ]
        return float(torch.stack([(one - true).norm() for one in runs]).mean())

    assert error(16, True) > error(128, True) > error(1024, True)
    assert error(8, True) < error(8, False)


def test_nystromformer_with_all_landmarks():
    q, k, v = vectors()
    true = efficient.run("exact", q, k, v, causal=False).output
    full = efficient.run("nystromformer", q, k, v, causal=False, landmarks=23, iterations=None)
    assert full.exact
    assert (full.output - true).abs().max() < 1e-10
    six = efficient.run("nystromformer", q, k, v, causal=False, landmarks=23, iterations=6)
    twenty = efficient.run("nystromformer", q, k, v, causal=False, landmarks=23, iterations=30)
    assert 0 < (twenty.output - true).abs().max() < (six.output - true).abs().max()
    few = efficient.run("nystromformer", q, k, v, causal=False, landmarks=5)
    assert bool((few.weights < 0).any())
    assert torch.allclose(few.output, few.weights @ v, atol=1e-10)


def test_six_iterations_miss_a_weight_by_about_seven_thousandths():
    """With all landmarks, six iterations of the inverse leave 7e-3 at the worst weight."""
    worst = []
    for seed in range(15):
        generator = torch.Generator().manual_seed(seed)
        q, k, v = torch.randn(3, 24, 8, generator=generator, dtype=torch.float64)
        options = {"causal": False, "landmarks": 24, "iterations": 6}
        six = efficient.run("nystromformer", q, k, v, **options).weights
        exact = efficient.run("exact", q, k, v, causal=False).weights
        worst.append(float((six - exact).abs().max()))
    assert np.median(worst) == pytest.approx(7e-3, abs=2e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ["linear", "performer"])
def test_the_recurrence_equals_the_parallel_form(name, dtype):
    q, k, v = vectors(dtype=dtype)
    inputs = prepare(q, k, v, True, None)
    root = math.sqrt(inputs.scale)
    if name == "linear":
        features = [torch.nn.functional.elu(one * root) + 1 for one in (q, k)]
    else:
        directions = random_directions(256, 8, 0, True).to(dtype)
        features = [positive_features(one * root, directions) for one in (q, k)]
    ours = efficient.run(name, q, k, v)
    assert not ours.exact
    assert (ours.output - recurrent_attention(inputs, *features)).abs().max() < BOUND[dtype]
    assert efficient.describe("linear").relation == "another model"


def test_the_state_space_is_its_implicit_matrix():
    generator = torch.Generator().manual_seed(2)
    c, b = torch.randn(2, 30, 4, generator=generator, dtype=torch.float64)
    x = torch.randn(30, 6, generator=generator, dtype=torch.float64)
    step = torch.rand(30, generator=generator, dtype=torch.float64)
    decay = -torch.arange(1, 5, dtype=torch.float64) / 3
    result = efficient.run("state_space", c, b, x, step=step, decay=decay, skip=0.7)
    recurrent = scan(c, b, step, decay, x) + 0.7 * x
    assert (result.output - recurrent).abs().max() < 1e-9
    matrix = implicit_matrix(c, b, step, decay)
    assert bool((matrix < 0).any())
    for row in range(1, 30):  # every block below the diagonal lies in one of these
        assert torch.linalg.matrix_rank(matrix[row:, :row], rtol=1e-9) <= 4
    sums = matrix.sum(-1)
    assert float(sums.max() - sums.min()) > 0.1  # rows are not normalised
    assert torch.allclose(torch.nan_to_num(result.weights), matrix, atol=1e-12)
    full = torch.linalg.matrix_rank(matrix)
    assert full > 4  # the rank of the whole is not bounded


@pytest.mark.parametrize("memory", [1, 5, 40])
def test_the_slowest_part_of_a_state_fades_in_its_memory(memory):
    c, b = torch.zeros(2, 60, 3, dtype=torch.float64)
    c[:, 0] = b[:, 0] = 1  # the slowest part alone
    matrix = efficient.run("state_space", c, b, torch.eye(60).double(), memory=memory).output
    for distance in (0, 1, memory):
        expected = math.exp(-distance / memory) / memory
        assert float(matrix[50, 50 - distance]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", efficient.names())
def test_every_variant_takes_arrays_and_tensors(name):
    q, k, v = vectors()
    causal = efficient.describe(name).causal
    tensors = efficient.run(name, q, k, v, causal=causal)
    arrays = efficient.run(name, q.numpy(), k.numpy(), v.numpy(), causal=causal)
    assert isinstance(arrays.output, np.ndarray)
    np.testing.assert_allclose(arrays.output, tensors.output.numpy())
    assert arrays.output.shape == (23, 5)
    assert arrays.computed.shape == (23, 23)
    assert arrays.computed.dtype == bool
    assert type(arrays.operations) is int
    assert type(arrays.numbers_held) is int
    assert arrays.weights is None or arrays.weights.shape == (23, 23)
    single = efficient.run(name, q.float(), k.float(), v.float(), causal=causal)
    assert single.output.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("nothing", {}, "there is no variant"),
        ("window", {"width": 3}, "no setting 'width'"),
        ("window", {"window": 0}, "at least the token itself"),
        ("linformer", {}, "cannot be causal"),
        ("nystromformer", {}, "cannot be causal"),
        ("flash", {"block": 0}, "at least one key"),
        ("flash", {"block": 12, "order": (0, 0)}, "must name each"),
        ("ring", {"devices": 0}, "at least one device"),
        ("reformer", {"buckets": 3}, "even number"),
        ("longformer", {"global_positions": (99,)}, "no position 99"),
        ("state_space", {"step": [1.0]}, "expected 23 numbers"),
        ("state_space", {"memory": 0}, "at least one token"),
    ],
)
def test_wrong_settings_get_a_sentence(name, change, message):
    with pytest.raises(InputError, match=message):
        efficient.run(name, *vectors(), **change)


@pytest.mark.parametrize(
    "broken",
    [
        lambda q, k, v: (q[:0], k, v),
        lambda q, k, v: (q, k[:, :3], v),
        lambda q, k, v: (q, k, v[:5]),
        lambda q, k, v: (q[0], k, v),
        lambda q, k, v: (q * math.nan, k, v),
        lambda q, k, v: (q, k[:5], v[:5]),  # more queries than keys, causal
        lambda q, k, v: (q[None], k[None], v[None]),  # a head axis, for one head
    ],
)
def test_wrong_shapes_get_a_sentence(broken):
    with pytest.raises(InputError):
        efficient.run("flash", *broken(*vectors()))
