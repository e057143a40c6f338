"""Windows, Longformer, BigBird and Sparse Transformer: which pairs, how many, how far."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from attnviz import efficient
from attnviz.efficient.methods.result import causal_mask
from attnviz.efficient.methods.sparse_patterns import (
    longformer_pairs,
    reach,
    sparse_masks,
    window_mask,
)
from attnviz.errors import InputError
from tests.efficient.test_exact_methods import vectors


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", ["window", "longformer", "bigbird", "sparse", "reformer"])
def test_a_pattern_is_attention_over_its_pairs(name, causal):
    if name == "sparse" and not causal:
        with pytest.raises(InputError, match="causal"):
            efficient.run(name, *vectors(), causal=False)
        return
    options = {
        "window": {"window": 4},
        "longformer": {"window": 4},
        "bigbird": {"block": 4},
        "sparse": {"stride": 4},
    }
    q, k, v = vectors()
    result = efficient.run(name, q, k, v, causal=causal, **options.get(name, {}))
    if name == "reformer":
        k = torch.nn.functional.normalize(q, dim=-1)
    for row in range(23):
        keys = torch.nonzero(result.computed[row]).flatten()
        scores = q[row] @ k[keys].mT / math.sqrt(8)
        powers = torch.exp(scores)
        assert torch.allclose(result.output[row], powers @ v[keys] / powers.sum(), atol=1e-10)
    assert torch.isnan(result.weights[~result.computed]).all()
    assert not (causal and bool((result.computed & ~causal_mask(23, 23)).any()))


@pytest.mark.parametrize("causal", [False, True])
def test_a_wide_window_is_exact(causal):
    q, k, v = vectors()
    true = efficient.run("exact", q, k, v, causal=causal).output
    wide = efficient.run("window", q, k, v, causal=causal, window=23)
    assert wide.exact
    assert torch.equal(wide.output, true)
    assert not efficient.run("window", q, k, v, causal=causal, window=22).exact


def test_a_change_reaches_no_further_than_the_layers_carry_it():
    """Through L layers of windows of w, position t reaches t + L (w - 1) and not one further."""
    window, layers, changed = 5, 3, 4
    generator = torch.Generator().manual_seed(0)
    maps = 0.2 * torch.randn(layers, 3, 6, 6, generator=generator, dtype=torch.float64)

    def run(stream):
        for q, k, v in maps:
            stream = (
                stream
                + efficient.run("window", stream @ q, stream @ k, stream @ v, window=window).output
            )
        return stream

    text = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    other = text.clone()
    other[changed] += 1
    moved = (run(text) - run(other)).abs().max(-1).values
    last = changed + layers * (window - 1)
    assert (moved[last + 1 :] == 0).all()
    assert (moved[changed : last + 1] > 0).all()
    mask = window_mask(40, 40, window, True)
    assert torch.equal(reach(mask, layers)[:, changed], moved > 0)


@pytest.mark.parametrize("count", [1, 7, 50])
@pytest.mark.parametrize("window", [2, 6, 200])
@pytest.mark.parametrize("leading", [0, 1, 4])
def test_longformer_pairs_in_closed_form(count, window, leading):
    leading = min(leading, count)
    q, k, v = vectors(queries=count)
    result = efficient.run(
        "longformer", q, k, v, causal=False, window=window, global_positions=range(leading)
    )
    if leading in (0, count) or window >= 2 * count:
        assert int(result.computed.sum()) == longformer_pairs(count, window, leading)
    slow = sum(
        abs(i - j) <= window // 2 or i < leading or j < leading
        for i in range(count)
        for j in range(count)
    )
    assert int(result.computed.sum()) == slow == longformer_pairs(count, window, leading)


def test_all_global_and_all_blocks_are_exact():
    q, k, v = vectors()
    true = efficient.run("exact", q, k, v, causal=False).output
    for result in (
        efficient.run("longformer", q, k, v, causal=False, global_positions=range(23)),
        efficient.run("bigbird", q, k, v, causal=False, block=4, random_blocks=6),
        efficient.run("bigbird", q, k, v, causal=False, block=23),
    ):
        assert result.exact
        assert torch.equal(result.output, true)


def test_bigbird_is_seeded_and_keeps_its_counts():
    q, k, v = vectors(queries=64)
    first, again, other = (
        efficient.run(
            "bigbird", q, k, v, causal=False, block=4, random_blocks=2, seed=seed
        ).computed
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    blocks = first[::4, ::4]
    assert (blocks[1:].sum(1) <= 3 + 1 + 2).all()
    assert blocks[0].all()
    assert blocks[:, 0].all()


@pytest.mark.parametrize("kind", ["strided", "fixed"])
@pytest.mark.parametrize("count", [1, 9, 16, 30])
def test_two_steps_of_a_sparse_transformer_reach_everything(kind, count):
    first, second = sparse_masks(count, 4, kind)
    both = second.double() @ first.double() > 0
    triangle = causal_mask(count, count)
    assert torch.equal(both, triangle)
    slow = torch.zeros_like(both)
    for i in range(count):
        for j in range(count):
            slow[i, j] = any(bool(second[i, m]) and bool(first[m, j]) for m in range(count))
    assert torch.equal(slow, both)
    assert not bool((first & ~triangle).any() | (second & ~triangle).any())


def test_one_bucket_is_shared_attention_without_the_token_itself():
    q, _, v = vectors()
    result = efficient.run("reformer", q, q, v, causal=False, buckets=1)
    key = q / q.norm(dim=-1, keepdim=True)
    scores = (q @ key.mT / math.sqrt(8)).fill_diagonal_(-math.inf)
    assert torch.allclose(result.output, torch.softmax(scores, -1) @ v, atol=1e-10)


@pytest.mark.parametrize("hashes", [1, 3])
def test_a_pair_is_computed_if_and_only_if_it_shares_a_bucket(hashes):
    q, k, v = vectors(queries=60)
    result = efficient.run("reformer", q, k, v, causal=False, buckets=8, hashes=hashes, seed=5)
    buckets = result.details["buckets"].numpy()
    for i in range(60):
        for j in range(60):
            shared = any(buckets[h, i] == buckets[h, j] for h in range(hashes))
            if i != j:
                assert bool(result.computed[i, j]) == shared
    assert np.all(result.computed.any(-1).numpy())  # every row has something to see


def test_near_vectors_share_a_bucket_more_often():
    generator = torch.Generator().manual_seed(1)
    one = torch.randn(8, generator=generator, dtype=torch.float64)
    near, far = one + 0.1 * torch.randn(8, generator=generator, dtype=torch.float64), -one
    q = torch.stack([one, near, far])
    hits = [0, 0]
    for seed in range(50):
        buckets = efficient.run("reformer", q, q, q, causal=False, buckets=8, seed=seed).details[
            "buckets"
        ][0]
        hits[0] += int(buckets[0] == buckets[1])
        hits[1] += int(buckets[0] == buckets[2])
    assert hits[0] > 35
    assert hits[1] == 0
