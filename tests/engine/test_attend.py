"""`attend` equals the reference attention in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from attnviz.attention.kernel.attend import attend
from attnviz.attention.kernel.blocks import GPU_SIZES, Block, BlockShape, BlockSizes, Workspace
from attnviz.attention.kernel.score_terms import ScoreTerms
from attnviz.attention.masks.visibility import Visibility
from tests.bounds import CALL, CALL_NATS, HALF, SAME
from tests.engine.handmade import Vectors, causal, vectors
from tests.engine.reference import entropy, reference_attention

N, BATCH, HEADS = 11, 2, 4
POSITION = np.arange(N)
BACK = POSITION[:, None] - POSITION[None, :]  # query position - key position
FULL = np.ones((N, N), bool)


def padded(visible: np.ndarray, left: int = 0, right: int = 0) -> np.ndarray:
    """Return the map for two texts, the second with padding."""
    both = np.stack([visible, visible])
    both[1, :, :left] = False
    both[1, :, N - right :] = False
    return both


MASKS = {
    "everything": np.stack([FULL, FULL]),
    "causal": padded(causal(N)),
    "causal, padded right": padded(causal(N), right=3),
    "causal, padded left: first rows see no key": padded(causal(N), left=3),
    "window behind": padded(causal(N) & (BACK < 4)),
    "window both ways": padded(FULL & (abs(BACK) <= 2)),
    "chunks": padded(causal(N) & (POSITION[:, None] // 4 == POSITION[None, :] // 4)),
    "padded both ways": padded(FULL, left=2, right=2),
    "a hidden key in the middle": padded(FULL & (POSITION != 5)[None, :]),
    "no rule at all": np.random.default_rng(3).random((2, N, N)) < 0.4,
    "nothing": np.zeros((2, N, N), bool),
}
every_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())


def run(inputs: Vectors, visible: np.ndarray, **options: Any) -> tuple[np.ndarray, ...]:
    """Return output, weights, entropies and largest weights, collected from the blocks."""
    rule = Visibility.from_table(torch.as_tensor(visible))
    shape = (*inputs.query.shape[:3], inputs.key.shape[2])
    weights, rows, best = torch.zeros(shape), torch.zeros(shape[:3]), torch.zeros(shape[:3])

    def see(block: Block) -> None:
        place = (slice(None), block.heads, block.rows)
        part = block.exponentials / block.sums.total[..., None]
        weights[(*place, slice(block.key_start, block.key_end))] = part
        rows[place] = block.sums.entropy
        best[place] = block.sums.max_weight

    names = ("scaling", "softcap", "bias", "sinks")
    terms = ScoreTerms(**{name: options.pop(name) for name in names if name in options})
    output = attend(inputs.query, inputs.key, inputs.value, rule, terms, observe=see, **options)
    return output.float().numpy(), weights.numpy(), rows.numpy(), best.numpy()


def check(inputs: Vectors, visible: np.ndarray, **options: Any) -> None:
    numbers = {
        name: value.numpy() if isinstance(value, torch.Tensor) else value
        for name, value in options.items()
    }
    output, weights, _ = reference_attention(*inputs.numpy(), visible, **numbers)
    mine, my_weights, my_entropy, my_best = run(inputs, visible, **options)
    assert np.isfinite(mine).all()
    np.testing.assert_allclose(mine, output, atol=4 * CALL)
    np.testing.assert_allclose(my_weights, weights, atol=CALL)
    np.testing.assert_allclose(my_entropy, entropy(weights), atol=CALL_NATS)
    seen = np.broadcast_to(visible.any(-1)[:, None], weights.shape[:3])
    np.testing.assert_allclose(my_best[seen], weights.max(-1)[seen], atol=CALL)


@every_mask
def test_plain(mask: np.ndarray) -> None:
    check(vectors(), mask, scaling=0.4)


@every_mask
def test_grouped_keys(mask: np.ndarray) -> None:
    check(vectors(groups=2), mask, scaling=0.4)


@every_mask
def test_softcap_bias_and_sinks_together(mask: np.ndarray) -> None:
    generator = torch.Generator().manual_seed(5)
    bias = torch.randn(BATCH, HEADS, N, N, generator=generator)
    sinks = torch.randn(HEADS, generator=generator)
    check(vectors(groups=1), mask, scaling=0.7, softcap=3.0, bias=bias, sinks=sinks)


@pytest.mark.parametrize("shape", [(1, HEADS), (1, 1), (BATCH, 1)])
def test_bias_shared_by_texts_or_heads(shape: tuple[int, int]) -> None:
    bias = 3 * torch.randn(*shape, N, N, generator=torch.Generator().manual_seed(1))
    check(vectors(), MASKS["causal, padded right"], scaling=0.4, bias=bias)


@pytest.mark.parametrize("sink", [-100.0, 0.0, 100.0])
def test_sinks_of_any_size(sink: float) -> None:
    check(vectors(), MASKS["causal"], scaling=0.4, sinks=torch.full((HEADS,), sink))


def test_scores_in_the_hundreds() -> None:
    """T5 does not scale: exp is accurate only after subtracting the row's highest score."""
    inputs = vectors()
    check(Vectors(30 * inputs.query, inputs.key, inputs.value), MASKS["causal"], scaling=1.0)


def test_more_keys_than_queries() -> None:
    inputs = vectors(queries=3, keys=7)
    visible = np.random.default_rng(0).random((2, 3, 7)) < 0.6
    check(inputs, visible, scaling=0.5)


def test_rows_without_visible_keys_are_zero() -> None:
    output, weights, rows, _ = run(vectors(), MASKS["nothing"], scaling=0.4)
    assert not output.any()
    assert not weights.any()
    assert not rows.any()


SHAPES = {
    "few rows": BlockShape(heads=HEADS, rows=8),
    "one head": BlockShape(heads=1, rows=8),
    "two heads": BlockShape(heads=2, rows=N),
    "pieces of rows": BlockShape(heads=HEADS, rows=N, piece=3 * N),
    "pieces shorter than a row": BlockShape(heads=2, rows=4, piece=1),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("groups", [4, 2, 1])
@every_mask
def test_block_shape_changes_nothing(mask: np.ndarray, groups: int, shape: BlockShape) -> None:
    inputs = vectors(groups=groups)
    options: dict[str, Any] = {
        "scaling": 0.4,
        "bias": torch.randn(1, HEADS, N, N, generator=torch.Generator().manual_seed(2)),
        "sinks": torch.linspace(-1, 2, HEADS),
    }
    check(inputs, mask, **options)
    whole = run(inputs, mask, **options)
    blocks = run(inputs, mask, **options, shape=shape, workspace=Workspace())
    for one, other in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(one, other, atol=CALL_NATS)


@pytest.mark.parametrize(
    ("keys", "heads", "rows"),
    [(128, 12, 128), (2048, 12, 128), (4096, 6, 213), (16_000, 2, 163), (128_000, 1, 40)],
)
def test_blocks_of_long_texts_have_enough_rows(keys: int, heads: int, rows: int) -> None:
    shape = BlockShape.of(1, 12, 12, keys, threads=2)
    assert (shape.heads, shape.rows) == (heads, rows)


@pytest.mark.parametrize("key_heads", [12, 6, 4, 3, 2, 1])
@pytest.mark.parametrize("keys", [1, 100, 5000, 20_000, 1_000_000])
@pytest.mark.parametrize("batch", [1, 3])
def test_block_heads_divide_or_contain_groups(batch: int, keys: int, key_heads: int) -> None:
    group = 12 // key_heads
    for sizes in (GPU_SIZES, BlockSizes(1 << 20, 1 << 10, 16, 64)):
        shape = BlockShape.of(batch, 12, key_heads, keys, sizes=sizes, threads=2)
        assert shape.heads % group == 0 or group % shape.heads == 0
        assert 12 % shape.heads == 0
        numbers = batch * shape.heads * shape.rows * keys
        assert shape.rows == 8 or 4 * numbers <= sizes.score_bytes
        assert shape.rows <= sizes.most_rows or shape.heads < 12


@pytest.mark.parametrize("heads", [HEADS, 2, 1])
def test_blocks_cover_every_row_once(heads: int) -> None:
    inputs = vectors(queries=37, keys=37)
    seen: list[tuple[int, int]] = []
    starts: list[int] = []

    def see(block: Block) -> None:
        starts.append(block.start)
        seen.extend((head, row) for row in _numbers(block.rows) for head in _numbers(block.heads))

    rule = Visibility.full(BATCH, 37, 37)
    shape = BlockShape(heads=heads, rows=8)
    attend(inputs.query, inputs.key, inputs.value, rule, ScoreTerms(1.0), observe=see, shape=shape)
    assert sorted(seen) == [(head, row) for head in range(HEADS) for row in range(37)]
    assert starts == sorted(starts)


def _numbers(part: slice) -> range:
    return range(part.start, part.stop)


def test_scores_far_below_the_highest_have_weight_zero() -> None:
    """Scores are clamped before exp, which is slow for them."""
    query, key = torch.ones(1, 1, 3, 1), torch.tensor([0.0, -70.0, -300.0, -5e4]).view(1, 1, 4, 1)
    inputs = Vectors(query, key, torch.eye(4).view(1, 1, 4, 4))
    output, weights, rows, _ = run(inputs, np.ones((1, 3, 4), bool), scaling=1.0)
    np.testing.assert_allclose(
        weights[0, 0, 0], [1.0, np.exp(-70.0), 0.0, 0.0], rtol=1e-3, atol=1e-32
    )
    np.testing.assert_allclose(output[0, 0, 0], weights[0, 0, 0], rtol=SAME)
    assert rows.max() < 1e-28


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_a_workspace_keeps_its_memory(mode: Any) -> None:
    space, place = Workspace(), torch.device("cpu")
    with mode():
        first = space.take("one", 8, place)
        assert space.take("one", 5, place).data_ptr() == first.data_ptr()
        assert space.take("two", 8, place).data_ptr() != first.data_ptr()
        assert len(space.take("one", 9, place)) == 9
    with torch.inference_mode():
        inside = space.take("one", 3, place)
    assert inside.is_inference()
    outside = space.take("one", 3, place)
    assert not outside.is_inference(), "a tensor of inference mode must not be written outside it"
    outside.add_(1.0)


@pytest.mark.parametrize("mask", ["causal", "window behind", "no rule at all"])
def test_half_precision(mask: str) -> None:
    inputs = vectors(groups=2)
    half = Vectors(inputs.query.bfloat16(), inputs.key.bfloat16(), inputs.value.bfloat16())
    output, weights, _ = reference_attention(*half.numpy(), MASKS[mask], scaling=0.4)
    mine, my_weights, _, _ = run(half, MASKS[mask], scaling=0.4)
    np.testing.assert_allclose(my_weights, weights, atol=5 * HALF)
    np.testing.assert_allclose(mine, output, atol=20 * HALF)


@pytest.mark.parametrize("trained", ["query", "key", "value", "bias", "sinks"])
def test_gradient_reaches_every_input(trained: str) -> None:
    """Compare with the gradient of attention written as one softmax; other inputs are frozen."""
    given, generator = vectors(), torch.Generator().manual_seed(4)
    inputs = {
        "query": given.query,
        "key": given.key,
        "value": given.value,
        "bias": torch.randn(1, HEADS, N, N, generator=generator),
        "sinks": torch.randn(HEADS, generator=generator),
    }
    gradients = []
    for by_blocks in (True, False):
        leaf = inputs[trained].clone().requires_grad_()
        one = inputs | {trained: leaf}
        if by_blocks:
            terms = ScoreTerms(0.4, bias=one["bias"], sinks=one["sinks"])
            rule, shape = Visibility.causal(BATCH, N, N, 0), BlockShape(heads=HEADS, rows=4)
            output = attend(one["query"], one["key"], one["value"], rule, terms, shape=shape)
        else:
            scores = 0.4 * one["query"] @ one["key"].transpose(2, 3) + one["bias"]
            scores = scores.masked_fill(~torch.ones(N, N, dtype=torch.bool).tril(), -torch.inf)
            sinks = one["sinks"][:, None, None].expand(BATCH, HEADS, N, 1)
            weights = torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]
            output = (weights @ one["value"]).transpose(1, 2)
        gradients.append(torch.autograd.grad(output.square().sum(), leaf)[0])
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)
