"""The kernel against attention written out in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from attnviz.attention.kernel import Block, attend, block_rows
from attnviz.attention.visibility import Visibility
from tests.engine.handmade import Vectors, causal, vectors
from tests.engine.reference import entropy, reference_attention

N, BATCH, HEADS = 11, 2, 4
POSITION = np.arange(N)
BACK = POSITION[:, None] - POSITION[None, :]  # how far back each key lies
FULL = np.ones((N, N), bool)


def padded(visible: np.ndarray, left: int = 0, right: int = 0) -> np.ndarray:
    """The same map for two texts, the second with padding."""
    both = np.stack([visible, visible])
    both[1, :, :left] = False
    both[1, :, N - right :] = False
    return both


MASKS = {
    "everything": np.stack([FULL, FULL]),
    "causal": padded(causal(N)),
    "causal, padded right": padded(causal(N), right=3),
    "causal, padded left: first rows see nothing": padded(causal(N), left=3),
    "window behind": padded(causal(N) & (BACK < 4)),
    "window both ways": padded(FULL & (abs(BACK) <= 2)),
    "chunks": padded(causal(N) & (POSITION[:, None] // 4 == POSITION[None, :] // 4)),
    "padded both ways": padded(FULL, left=2, right=2),
    "a hole in the middle": padded(FULL & (POSITION != 5)[None, :]),
    "no rule at all": np.random.default_rng(3).random((2, N, N)) < 0.4,
    "nothing": np.zeros((2, N, N), bool),
}
every_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())


def run(made: Vectors, visible: np.ndarray, **options: Any) -> tuple[np.ndarray, ...]:
    """Output, weights, entropies and the normaliser, put together from the blocks."""
    rule = Visibility.from_table(torch.as_tensor(visible))
    shape = (*made.query.shape[:3], made.key.shape[2])
    weights, rows, best = torch.zeros(shape), torch.zeros(shape[:3]), torch.zeros(shape[:3])

    def see(block: Block) -> None:
        place = slice(block.start, block.end)
        part = block.exponentials / block.own.total[..., None]
        weights[:, :, place, block.key_start : block.key_end] = part
        rows[:, :, place] = block.own.entropy
        best[:, :, place] = block.own.max_weight

    output = attend(made.query, made.key, made.value, rule, observe=see, **options)
    return output.float().numpy(), weights.numpy(), rows.numpy(), best.numpy()


def check(made: Vectors, visible: np.ndarray, **options: Any) -> None:
    numbers = {
        name: value.numpy() if isinstance(value, torch.Tensor) else value
        for name, value in options.items()
    }
    output, weights, _ = reference_attention(*made.numpy(), visible, **numbers)
    mine, my_weights, my_entropy, my_best = run(made, visible, **options)
    assert np.isfinite(mine).all()
    np.testing.assert_allclose(mine, output, atol=1e-5)
    np.testing.assert_allclose(my_weights, weights, atol=1e-6)
    np.testing.assert_allclose(my_entropy, entropy(weights), atol=5e-6)
    seen = np.broadcast_to(visible.any(-1)[:, None], weights.shape[:3])
    np.testing.assert_allclose(my_best[seen], weights.max(-1)[seen], atol=2e-6)


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
    """T5 does not scale. Only the row's highest score may be taken off before exp."""
    made = vectors()
    check(Vectors(30 * made.query, made.key, made.value), MASKS["causal"], scaling=1.0)


def test_more_keys_than_queries() -> None:
    made = vectors(queries=3, keys=7)
    visible = np.random.default_rng(0).random((2, 3, 7)) < 0.6
    check(made, visible, scaling=0.5)


def test_rows_that_see_nothing_give_zero() -> None:
    output, weights, rows, _ = run(vectors(), MASKS["nothing"], scaling=0.4)
    assert not output.any()
    assert not weights.any()
    assert not rows.any()


@every_mask
def test_block_size_changes_nothing(mask: np.ndarray) -> None:
    made, long = vectors(queries=N, keys=N), mask
    assert block_rows(BATCH, HEADS, N, (1, 1)) == 8
    assert block_rows(BATCH, HEADS, N) > N
    whole = run(made, long, scaling=0.4)
    blocks = run(made, long, scaling=0.4, score_bytes=1)
    for one, other in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)


@pytest.mark.parametrize(
    ("keys", "rows"), [(2048, 85), (4096, 64), (8192, 64), (16_000, 43), (128_000, 8)]
)
def test_blocks_of_long_texts_have_rows_enough(keys: int, rows: int) -> None:
    assert block_rows(1, 12, keys) == rows


def test_blocks_cover_every_query_once() -> None:
    made = vectors(queries=37, keys=37)
    seen: list[int] = []
    rule = Visibility.full(BATCH, 37, 37)
    attend(
        made.query,
        made.key,
        made.value,
        rule,
        scaling=1.0,
        observe=lambda block: seen.extend(range(block.start, block.end)),
        score_bytes=1,
    )
    assert seen == list(range(37))


@pytest.mark.parametrize("mask", ["causal", "window behind", "no rule at all"])
def test_half_precision(mask: str) -> None:
    made = vectors(groups=2)
    half = Vectors(made.query.bfloat16(), made.key.bfloat16(), made.value.bfloat16())
    output, weights, _ = reference_attention(*half.numpy(), MASKS[mask], scaling=0.4)
    mine, my_weights, _, _ = run(half, MASKS[mask], scaling=0.4)
    np.testing.assert_allclose(my_weights, weights, atol=1e-2)
    np.testing.assert_allclose(mine, output, atol=3e-2)
