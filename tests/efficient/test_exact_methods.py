"""FlashAttention, ring attention and shared keys against a plain loop."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from attnviz import efficient
from attnviz.efficient.methods.flash import Running, flash_steps, merge
from attnviz.efficient.methods.result import prepare

BOUND = {torch.float64: 1e-10, torch.float32: 1e-5}


def vectors(queries=23, keys=None, d=8, d_value=5, dtype=torch.float64, heads=None, sharp=1.0):
    generator = torch.Generator().manual_seed(3)
    lead = () if heads is None else (heads,)
    shapes = ((*lead, queries, d), (*lead, keys or queries, d), (*lead, keys or queries, d_value))
    q, k, v = (torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    return (q * sharp).to(dtype), k.to(dtype), v.to(dtype)


def loop(q, k, v, causal):
    """Attention written as loops over numbers, in float64."""
    q, k, v = (one.double().numpy() for one in (q, k, v))
    output = np.zeros((len(q), v.shape[1]))
    for i in range(len(q)):
        seen = range(i + 1 + len(k) - len(q)) if causal else range(len(k))
        scores = [
            sum(a * b for a, b in zip(q[i], k[j], strict=True)) / math.sqrt(q.shape[1])
            for j in seen
        ]
        powers = [math.exp(score - max(scores)) for score in scores]
        for j, power in zip(seen, powers, strict=True):
            output[i] += power / sum(powers) * v[j]
    return output


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sharp", [1.0, 30.0])
def test_exact_is_the_plain_loop(dtype, causal, sharp):
    q, k, v = vectors(dtype=dtype, sharp=sharp)
    result = efficient.run("exact", q, k, v, causal=causal)
    assert result.exact
    np.testing.assert_allclose(
        result.output.numpy(), loop(q, k, v, causal), atol=BOUND[dtype] * sharp
    )
    rows = torch.nan_to_num(result.weights).sum(-1)
    assert torch.allclose(rows, torch.ones_like(rows), atol=BOUND[dtype])
    assert result.operations == (23 * 24 // 2 if causal else 23 * 23) * 13


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("block", [1, 5, 8, 23, 100])
def test_flash_is_exact_for_every_block_size(dtype, causal, block):
    q, k, v = vectors(dtype=dtype)
    ours = efficient.run("flash", q, k, v, causal=causal, block=block)
    true = efficient.run("exact", q, k, v, causal=causal)
    assert (ours.output - true.output).abs().max() < BOUND[dtype]
    assert (torch.nan_to_num(ours.weights - true.weights)).abs().max() < BOUND[dtype]
    scores = (q @ k.mT / math.sqrt(8)).masked_fill(~true.computed, -math.inf)
    apart = ours.details["log_sum_exp"] - torch.logsumexp(scores, -1)
    assert apart.abs().max() < BOUND[dtype]
    if 1 < block < 23:
        assert ours.numbers_held < true.numbers_held


def test_flash_is_exact_in_every_order_of_tiles():
    q, k, v = vectors()
    true = efficient.run("exact", q, k, v, causal=False).output
    for order in itertools.permutations(range(4)):
        ours = efficient.run("flash", q, k, v, causal=False, block=6, order=order)
        assert (ours.output - true).abs().max() < 1e-10


def test_flash_skips_tiles_of_the_future():
    q, k, v = vectors(queries=64)
    ours = efficient.run("flash", q, k, v, causal=True, block=16)
    assert ours.details["skipped_tiles"] == 6
    assert ours.operations == 10 * 16 * 16 * 13


def test_a_wrong_rescale_would_be_seen():
    """Merging without the factor exp(m_old - m_new) is far off: the bounds can fail."""
    q, k, v = vectors(sharp=3)
    inputs = prepare(q, k, v, False, None)
    *_, (_, right) = flash_steps(inputs, slice(0, 23), 6, range(4))
    wrong = Running.empty(q, 5)
    for number in range(4):
        keys = slice(6 * number, 6 * number + 6)
        tile = Running.of(q @ k[keys].mT * inputs.scale, v[keys])
        wrong = Running(
            torch.maximum(wrong.highest, tile.highest),
            wrong.total + tile.total,
            wrong.output + tile.output,
        )
    assert (right.finished() - wrong.finished()).abs().max() > 0.1


def test_merge_is_associative_and_commutative():
    q, k, v = vectors(keys=30)
    scale = 1 / math.sqrt(8)
    a, b, c = (
        Running.of(q @ k[s].mT * scale, v[s]) for s in (slice(0, 4), slice(4, 19), slice(19, 30))
    )
    forms = [merge(merge(a, b), c), merge(a, merge(b, c)), merge(merge(c, a), b)]
    for one in forms[1:]:
        assert (one.finished() - forms[0].finished()).abs().max() < 1e-12
        assert (one.log_sum_exp() - forms[0].log_sum_exp()).abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("devices", [1, 2, 3, 7, 23, 30])
def test_ring_is_exact_for_any_number_of_devices(dtype, causal, devices):
    q, k, v = vectors(dtype=dtype)
    true = efficient.run("exact", q, k, v, causal=causal).output
    for start in (0, 1, devices - 1):
        ours = efficient.run("ring", q, k, v, causal=causal, devices=devices, start=start)
        assert (ours.output - true).abs().max() < BOUND[dtype]


def test_ring_counts_bytes_and_causal_skips():
    q, k, v = vectors(queries=24)
    ours = efficient.run("ring", q, k, v, causal=True, devices=4)
    assert ours.details["skipped_blocks"] == 6  # blocks above the diagonal
    assert ours.details["bytes_moved"] == 3 * 24 * 13 * 8  # three rounds, all keys and values


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_grouped_heads_beside_a_loop_over_query_heads(dtype):
    q, _, _ = vectors(heads=8, dtype=dtype)
    _, k, v = vectors(heads=2, dtype=dtype)
    for causal in (False, True):
        ours = efficient.run("grouped_query", q, k, v, causal=causal, groups=2).output
        for head in range(8):
            wanted = loop(q[head], k[head // 4], v[head // 4], causal)
            np.testing.assert_allclose(ours[head].numpy(), wanted, atol=BOUND[dtype])


def test_grouped_heads_equal_repeated_keys():
    q, _, _ = vectors(heads=8)
    _, k, v = vectors(heads=2)
    ours = efficient.run("grouped_query", q, k, v, causal=True, groups=2)
    true = efficient.run(
        "exact", q, k.repeat_interleave(4, 0), v.repeat_interleave(4, 0), causal=True
    )
    assert ours.exact
    assert torch.equal(ours.output, true.output)
    assert ours.details["cache_ratio"] == 0.25
    one = efficient.run("multi_query", q, k[:1], v[:1], causal=True)
    assert torch.equal(
        one.output,
        efficient.run("exact", q, k[:1].expand(8, -1, -1), v[:1].expand(8, -1, -1)).output,
    )


def test_pooled_heads_are_an_approximation():
    q, k, v = vectors(heads=8)
    ours = efficient.run("grouped_query", q, k, v, causal=True, groups=2)
    assert not ours.exact
    pooled = k.reshape(2, 4, *k.shape[1:]).mean(1), v.reshape(2, 4, *v.shape[1:]).mean(1)
    again = efficient.run("grouped_query", q, *pooled, causal=True, groups=2)
    assert torch.allclose(ours.output, again.output)
    full = efficient.run("grouped_query", q, k, v, causal=True, groups=8)
    assert full.exact
    assert torch.equal(full.output, efficient.run("exact", q, k, v).output)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_latent_absorbed_equals_expanded_and_full_rank_is_exact(dtype):
    q, k, v = vectors(heads=3, dtype=dtype)
    true = efficient.run("exact", q, k, v).output
    errors = []
    for rank in (4, 10, 23):
        ours = efficient.run("latent", q, k, v, rank=rank)
        assert ours.details["absorbed_minus_expanded"] < BOUND[dtype]
        errors.append(float((ours.output - true).abs().max()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < BOUND[dtype]
    assert ours.exact
    assert ours.details["cache_numbers"] == 23 * 23


@pytest.mark.parametrize("rank", [3, 9])
def test_latent_beside_loops_over_expanded_keys_and_values(rank):
    """Expand the best numbers per token to keys and values, by numpy, and attend in loops."""
    q, k, v = vectors(heads=3)
    joined = np.concatenate([one.transpose(0, 1).reshape(23, -1).numpy() for one in (k, v)], 1)
    left, sizes, right = np.linalg.svd(joined)
    best = (left[:, :rank] * sizes[:rank]) @ right[:rank]
    key, value = best[:, :24].reshape(23, 3, 8), best[:, 24:].reshape(23, 3, 5)
    ours = efficient.run("latent", q, k, v, rank=rank).output
    for head in range(3):
        wanted = loop(q[head], *(torch.tensor(one[:, head]) for one in (key, value)), True)
        np.testing.assert_allclose(ours[head].numpy(), wanted, atol=1e-10)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (
            {"layers": 32, "kv_heads": 32, "d_head": 128, "tokens": 4096},
            2_147_483_648,
        ),  # Llama 2 7B
        ({"layers": 32, "kv_heads": 8, "d_head": 128, "tokens": 4096}, 536_870_912),  # Mistral 7B
        (
            {"layers": 80, "kv_heads": 8, "d_head": 128, "tokens": 4096},
            1_342_177_280,
        ),  # Llama 2 70B
        (
            {"layers": 32, "kv_heads": 8, "d_head": 128, "tokens": 131_072},
            17_179_869_184,
        ),  # Llama 3 8B
    ],
)
def test_published_cache_sizes(sizes, expected):
    assert efficient.kv_cache_bytes(**sizes) == expected


def test_a_window_bounds_the_cache():
    one = {"layers": 2, "kv_heads": 2, "d_head": 4, "batch": 3}
    assert efficient.kv_cache_bytes(tokens=500, window=64, **one) == efficient.kv_cache_bytes(
        tokens=64, **one
    )
    assert efficient.kv_cache_bytes(tokens=10, window=64, **one) == efficient.kv_cache_bytes(
        tokens=10, **one
    )
    assert efficient.kv_cache_bytes(tokens=1, bytes_per_number=0.5, **one) == 2 * 2 * 2 * 4 * 3 // 2
