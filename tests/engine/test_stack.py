"""AttentionStack: maps, tiles, overviews, scores, vectors, and refusals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from attnviz import Capture, Model, capture
from attnviz.attention import AttentionStack
from attnviz.attention.stack import attention_stack as stack_module
from attnviz.captures.forward_pass import Encoded, capture_ids
from attnviz.errors import CaptureError
from tests.bounds import CALL, MODEL, SAME
from tests.engine.handmade import causal, from_scores, record, vectors
from tests.engine.reference import reference_attention
from tests.zoo import Pair, random_ids, random_texts

STACKS = [
    *[("gpt2", "self"), ("mistral", "self"), ("gemma2", "self"), ("gpt_oss", "self")],
    *[("bert", "self"), ("t5", "encoder"), ("t5", "decoder"), ("t5", "cross")],
]


@pytest.fixture(params=STACKS, ids="-".join)
def stack(request: pytest.FixtureRequest, zoo: Callable[[str], Pair]) -> AttentionStack:
    name, kind = request.param
    model = zoo(name).model
    return capture_ids(model, random_texts(model, (43, 60)), predict=False)[0][kind]


def softmax(scores: np.ndarray) -> np.ndarray:
    shares = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def test_softmax_of_scores_equals_weights(stack: AttentionStack) -> None:
    for layer, head in np.ndindex(stack.shape[:2]):
        weights, scores = stack.weights(layer, head), stack.scores(layer, head)
        assert weights.dtype == scores.dtype == np.float32
        assert weights.shape == scores.shape == stack.shape[2:]
        shares = softmax(scores) * weights.sum(-1, keepdims=True)  # less than one with sinks
        np.testing.assert_allclose(weights, shares, atol=MODEL)


def test_scores_are_minus_infinity_at_hidden_keys_only(stack: AttentionStack) -> None:
    hidden = np.isneginf(stack.scores(0, 0))
    np.testing.assert_array_equal((~hidden).sum(-1), stack.visible[0])
    np.testing.assert_array_equal((~hidden).sum(0), stack.seen_by[0])
    assert not stack.weights(0, 0)[hidden].any()


@pytest.mark.parametrize(
    ("queries", "keys"),
    [
        (slice(0, 1), slice(0, 1)),
        (slice(3, 9), slice(2, 17)),
        (slice(None), slice(5, 6)),
        (slice(-4, None), slice(None, -1)),
        (slice(5, 999), slice(0, 999)),
        (slice(4, 4), slice(None)),
        (slice(9, 3), slice(3)),
    ],
    ids=str,
)
def test_tiles_are_slices_of_the_whole(stack: AttentionStack, queries: slice, keys: slice) -> None:
    for ask in (stack.weights, stack.scores):
        whole, tile = ask(1, 2), ask(1, 2, queries, keys)
        assert tile.shape == whole[queries, keys].shape
        np.testing.assert_allclose(tile, whole[queries, keys], atol=MODEL)


def test_tiles_with_steps_are_refused(stack: AttentionStack) -> None:
    with pytest.raises(CaptureError, match="neighbouring tokens: a step of 2"):
        stack.weights(0, 0, slice(None, None, 2))
    with pytest.raises(CaptureError, match="a step of -1"):
        stack.scores(0, 0, keys=slice(None, None, -1))


@pytest.mark.parametrize(("layer", "head"), [(-1, 0), (0, -1), (99, 0), (0, 99)])
def test_heads_that_do_not_exist_are_refused(stack: AttentionStack, layer: int, head: int) -> None:
    layers, heads, _, _ = stack.shape
    last = rf"no head L{layer}·H{head} in this {stack.kind}.*0 to {layers - 1}.*0 to {heads - 1}"
    asks = (stack.weights, stack.scores, stack.pooled, stack.query, stack.key, stack.value)
    for ask in asks:
        with pytest.raises(CaptureError, match=last):
            ask(layer, head)


def test_statistics_alone_refuse_weights(bert: Model) -> None:
    slim = capture(bert, "The cat sat.", keep="statistics")["self"]
    assert not slim.keeps_weights
    for ask in (slim.weights, slim.scores, slim.pooled, slim.query, slim.key, slim.value):
        with pytest.raises(CaptureError, match=r'statistics only.*keep="qkv"'):
            ask(0, 0)
    for layer in slim.layers:
        assert layer.vectors is None


def slow_pool(weights: np.ndarray, bins: int, how: str) -> np.ndarray:
    rows, columns = (min(bins, n) for n in weights.shape)
    cells = np.zeros((rows, columns))
    for r, c in np.ndindex(rows, columns):
        top, bottom = r * weights.shape[0] // rows, (r + 1) * weights.shape[0] // rows
        left, right = c * weights.shape[1] // columns, (c + 1) * weights.shape[1] // columns
        cell = weights[top:bottom, left:right]
        cells[r, c] = cell.max() if how == "max" else cell.mean()
    return cells


@pytest.mark.parametrize("how", ["max", "mean"])
@pytest.mark.parametrize("bins", [1, 2, 7, 20, 43, 256])
def test_pooling_equals_a_loop(stack: AttentionStack, bins: int, how: str) -> None:
    expected = slow_pool(stack.weights(1, 3), bins, how)
    np.testing.assert_allclose(stack.pooled(1, 3, bins, how), expected, atol=MODEL)


@pytest.mark.parametrize("n", [129, 300, 391])
@pytest.mark.parametrize("bins", [1, 2, 10, 256])
def test_pooling_of_maps_longer_than_a_block_of_rows(n: int, bins: int) -> None:
    long = from_scores(np.random.default_rng(n).normal(0, 4, (1, 1, n, n)), causal(n))
    for how in ("max", "mean"):
        expected = slow_pool(long.weights(0, 0), bins, how)
        np.testing.assert_allclose(long.pooled(0, 0, bins, how), expected, atol=SAME)


@pytest.mark.parametrize("how", ["max", "sum"])
@pytest.mark.parametrize("without", [(), (0, 17, 42)])
def test_bins_of_a_part_equal_a_loop(
    stack: AttentionStack, how: str, without: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack_module, "POOL_ROWS", 10)  # bins lie across blocks of rows
    _, _, queries, keys = stack.shape
    rows, columns = np.array([2, 3, 14, queries - 1]), np.array([5, 9, 18, keys])
    weights = stack.weights(1, 3).copy()
    weights[:, [key for key in without if key < keys]] = 0.0
    binned = stack.binned(1, 3, rows, columns, how, without)
    for row, column in np.ndindex(binned.shape):
        cell = weights[rows[row] : rows[row + 1], columns[column] : columns[column + 1]]
        expected = cell.max() if how == "max" else cell.sum()
        assert binned[row, column] == pytest.approx(expected, abs=MODEL)


def test_impossible_pooling_is_refused(stack: AttentionStack) -> None:
    with pytest.raises(CaptureError, match="'max' or 'mean', not by 'median'"):
        stack.pooled(0, 0, how="median")
    with pytest.raises(CaptureError, match="at least one bin, not 0"):
        stack.pooled(0, 0, bins=0)


def test_vectors_of_grouped_heads() -> None:
    inputs = vectors(heads=6, groups=2, dim=8, value_dim=5)
    stack = record([inputs])
    assert stack.query(0, 5).shape == (11, 8)
    assert stack.value(0, 5).shape == (11, 5)
    for head in range(6):
        np.testing.assert_array_equal(stack.query(0, head), inputs.query[0, head])
        np.testing.assert_array_equal(stack.key(0, head), inputs.key[0, head // 3])
        np.testing.assert_array_equal(stack.value(0, head), inputs.value[0, head // 3])


def test_weights_computed_from_vectors(zoo: Callable[[str], Pair]) -> None:
    """In a model without bias, softmax(scale * q.k) equals the weights."""
    stack = capture(zoo("llama").model, "The cat sat on the mat. The cat")["self"]
    for layer, head in np.ndindex(stack.shape[:2]):
        query, key = stack.query(layer, head), stack.key(layer, head)
        scores = query @ key.T / np.sqrt(query.shape[1])
        scores[~causal(len(scores))] = -np.inf
        np.testing.assert_allclose(softmax(scores), stack.weights(layer, head), atol=MODEL)


@pytest.mark.parametrize("text", [0, 1])
def test_each_text_of_a_recorded_batch(text: int) -> None:
    inputs = vectors(groups=2)
    stack = record([inputs], text=text, scaling=0.4)
    visible = np.ones((2, 11, 11), bool)
    _, weights, _ = reference_attention(*inputs.numpy(), visible, scaling=0.4)
    for head in range(4):
        np.testing.assert_allclose(stack.weights(0, head), weights[text, head], atol=CALL)


@pytest.mark.parametrize("shape", [(1, 4), (2, 4), (2, 1), (1, 1)])
@pytest.mark.parametrize("text", [0, 1])
def test_each_text_has_its_own_bias(text: int, shape: tuple[int, int]) -> None:
    """A bias may be shared by texts and heads; a mask may contain a bias too."""
    inputs = vectors()
    position = torch.randn(*shape, 11, 11, generator=torch.Generator().manual_seed(1))
    added = torch.randn(2, 1, 11, 11, generator=torch.Generator().manual_seed(2))
    visible = np.stack([causal(11), causal(11)])
    mask = added.masked_fill(~torch.as_tensor(visible)[:, None], torch.finfo(torch.float32).min)
    stack = record([inputs], mask, text=text, scaling=0.4, position_bias=position)
    _, weights, scores = reference_attention(
        *inputs.numpy(), visible, scaling=0.4, bias=(position + added).numpy()
    )
    for head in range(4):
        np.testing.assert_allclose(stack.weights(0, head), weights[text, head], atol=CALL)
        np.testing.assert_allclose(stack.scores(0, head), scores[text, head], atol=4 * CALL)


def test_row_statistics_belong_to_the_weights(stack: AttentionStack) -> None:
    for layer, head in np.ndindex(stack.shape[:2]):
        weights = stack.weights(layer, head)
        rows = stack.layers[layer].rows
        np.testing.assert_allclose(rows["mass"][head], weights.sum(-1), atol=MODEL)
        np.testing.assert_allclose(rows["max_weight"][head], weights.max(-1), atol=MODEL)
        np.testing.assert_allclose(rows["key_mass"][head], weights.sum(0), atol=2e-4)


def test_a_kind_the_capture_does_not_have(gpt: Model) -> None:
    one = capture(gpt, "The cat")
    assert one.kinds == tuple(one) == ("self",)
    with pytest.raises(CaptureError, match="no 'cross' attention; it has 'self'"):
        one["cross"]


def test_shapes_of_an_encoder_decoder(t5: Model) -> None:
    one = capture(t5, "The cat sat on the mat.", target="The dog.")
    queries, keys = len(one["decoder"].query_tokens), len(one["encoder"].query_tokens)
    assert one.kinds == ("encoder", "decoder", "cross")
    assert one["encoder"].shape == (2, 4, keys, keys)
    assert one["decoder"].shape == (3, 4, queries, queries)
    assert one["cross"].shape == (3, 4, queries, keys)
    assert one["cross"].query_tokens == one["decoder"].query_tokens
    assert one["cross"].key_tokens == one["encoder"].key_tokens
    assert [one[kind].same_text for kind in one.kinds] == [True, True, False]


def test_a_text_does_not_keep_its_batch_in_memory(gpt: Model) -> None:
    """A short text captured in a batch with a long one keeps no vectors of the long one."""
    texts = [Encoded(random_ids(gpt, 5)), Encoded(random_ids(gpt, 100))]

    def bytes_held(one: Capture) -> int:
        return sum(
            part.untyped_storage().nbytes()
            for layer in one["self"].layers
            if layer.vectors is not None
            for part in (layer.vectors.query, layer.vectors.key, layer.vectors.value)
        )

    short, long = capture_ids(gpt, texts)
    assert bytes_held(short) * 20 == bytes_held(long)
