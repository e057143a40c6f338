"""Costs in closed form beside those counted while a variant runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnviz import efficient
from attnviz.efficient.costs import cost
from attnviz.efficient.knobs import knob
from attnviz.errors import InputError

D, D_VALUE = 6, 4
COUNTS = (1, 2, 7, 16, 23, 48)
SETTINGS = {
    "exact": ({},),
    "flash": ({"block": 1}, {"block": 4}, {"block": 16}, {"block": 64}),
    "ring": ({"devices": 1}, {"devices": 3}, {"devices": 4}, {"devices": 30}),
    "window": ({"window": 1}, {"window": 5}, {"window": 64}),
    "longformer": ({"window": 2}, {"window": 5}, {"window": 64}),
    "sparse": ({"stride": 1}, {"stride": 4}, {"stride": 7}),
    "linformer": ({"rank": 3}, {"rank": 64}),
    "performer": ({"features": 8},),
    "nystromformer": ({"landmarks": 3}, {"landmarks": 64}),
    "linear": ({},),
    "state_space": ({},),
}


def vectors(count: int, heads: int | None = None) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(count)
    shape = (count,) if heads is None else (heads, count)
    return tuple(
        torch.randn(*shape, width, generator=generator, dtype=torch.float64)
        for width in (D, D, D_VALUE)
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", SETTINGS)
def test_counted_and_closed_form_are_equal(name: str, causal: bool) -> None:
    described = efficient.describe(name)
    if not (described.causal if causal else described.bidirectional):
        pytest.skip("this mask is not possible for the variant")
    for count in COUNTS:
        for options in SETTINGS[name]:
            query, key, value = vectors(count)
            if name == "state_space":
                value = value.new_zeros(count, D_VALUE) + value
            result = efficient.run(name, query, key, value, causal=causal, **options)
            counted = cost(name, count, d=D, d_value=D_VALUE, causal=causal, **options)
            assert counted.operations == result.operations, (count, options)
            assert counted.held == result.numbers_held, (count, options)
            if counted.pairs and name not in ("flash", "ring"):  # tiles compute some masked pairs
                assert counted.pairs == int(result.computed.sum())


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_shared_keys(groups: int) -> None:
    result = efficient.run("grouped_query", *vectors(9, 4), groups=groups)
    costs = cost("grouped_query", 9, d=D, d_value=D_VALUE, heads=4, groups=groups)
    assert costs.operations * 4 == result.operations
    assert costs.cached == (D + D_VALUE) * result.details["cache_ratio"]
    assert cost("multi_query", 9, d=D, heads=4).cached == 2 * D / 4


def test_latent_vectors() -> None:
    result = efficient.run("latent", *vectors(12, 2), rank=5)
    costs = cost("latent", 12, d=D, d_value=D_VALUE, heads=2, rank=5)
    assert costs.pairs * 2 * 5 * 2 == result.operations
    assert costs.cached is not None
    assert costs.cached * 12 * 2 == result.details["cache_numbers"]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("count", "block"), [(48, 4), (50, 4), (8, 4), (4, 4), (160, 16)])
def test_random_blocks_are_right_on_average(count: int, block: int, causal: bool) -> None:
    query, key, value = vectors(count)
    pairs = [
        int(
            efficient.run(
                "bigbird", query, key, value, causal=causal, block=block, seed=seed
            ).computed.sum()
        )
        for seed in range(300)
    ]
    expected = cost("bigbird", count, d=D, causal=causal, block=block).pairs
    # five standard errors of the mean; a ragged last block, drawn by each row, adds its lack
    allowed = 5 * np.std(pairs) / np.sqrt(len(pairs))
    ragged = (-count % block) * block * (count // block) / max(count // block - 4, 1)
    assert abs(np.mean(pairs) - expected) <= allowed + ragged + 1e-9


def test_buckets_of_equal_sizes() -> None:
    # 8 vectors in two opposite directions fill two buckets evenly
    query = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64).repeat(4, 1)
    value = torch.ones(8, 2, dtype=torch.float64)
    for causal in (False, True):
        result = efficient.run("reformer", query, query, value, causal=causal, buckets=2)
        costs = cost("reformer", 8, d=2, causal=causal, buckets=2)
        assert costs.pairs == int(result.computed.sum())
        assert costs.operations == result.operations


def test_the_known_point() -> None:
    assert cost("exact", 128_000, d=64, causal=False).pairs == pytest.approx(16.4e9, rel=2e-3)


def test_growth_with_the_text() -> None:
    def growth(name: str, **options: int) -> float:
        one, two = (cost(name, n, d=64, causal=False, **options).operations for n in (2**17, 2**20))
        return float(np.log2(two / one) / 3)

    for name in ("exact", "flash", "ring", "reformer", "latent", "multi_query"):
        assert growth(name) == pytest.approx(2, abs=0.02), name
    for name in ("window", "longformer", "bigbird", "linformer", "performer", "nystromformer"):
        assert growth(name) == pytest.approx(1, abs=0.02), name


def test_tiles_move_less_than_a_matrix_of_scores() -> None:
    exact = cost("exact", 4096, d=64, causal=False)
    tiles = cost("flash", 4096, d=64, causal=False, block=256)
    assert tiles.operations == exact.operations
    assert tiles.moved < exact.moved / 6
    assert tiles.held < exact.held / 100


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="there is no variant"):
        cost("magic", 10, d=4)
    with pytest.raises(InputError, match="at least one token"):
        cost("exact", 0, d=4)


@pytest.mark.parametrize("name", efficient.names())
def test_every_value_of_a_knob_runs(name: str) -> None:
    setting = knob(name)
    described = efficient.describe(name)
    query, key, value = vectors(12, 8 if name in ("grouped_query", "latent") else None)
    if setting is None:
        assert name in ("exact", "multi_query", "linear")
        return
    assert setting.start in setting.values
    for chosen in setting.values:
        result = efficient.run(
            name, query, key, value, causal=described.causal, **{setting.name: chosen}
        )
        assert torch.isfinite(result.output).all()
