"""Metrics computed block by block equal loops over the whole map."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from attnviz import metrics
from attnviz.attention import AttentionStack, Keep
from attnviz.attention.kernel import token_pairs
from attnviz.attention.kernel.blocks import BlockSizes
from attnviz.captures.forward_pass import Encoded, capture_ids
from tests.bounds import MODEL, MODEL_NATS
from tests.metrics.definitions import ONE_TEXT_ONLY, PER_ROW, per_head
from tests.zoo import Pair, eager_attentions, inputs_of, random_ids

LENGTH = 30
TEXTS = {"repeated", "few words", "no repetition"}
NATS = 2 * MODEL_NATS  # distances and entropies, of rows with up to a hundred keys
MODELS = ["gpt2", "bert", "t5", "mistral", "modernbert", "gpt_oss"]


def ids_of(model: object, text: str) -> tuple[int, ...]:
    words = random_ids(model, 300)
    if text == "repeated":
        return (words[:LENGTH] * 2)[: LENGTH + 7]
    if text == "few words":
        return tuple(5 + number % 3 for number in words[:LENGTH])
    return tuple(dict.fromkeys(words))[:LENGTH]


def stacks_and_maps(
    pair: Pair, text: str, keep: Keep = "qkv"
) -> list[tuple[AttentionStack, np.ndarray, np.ndarray]]:
    """Yield each stack with the library's weights and the mask of visible pairs."""
    ids = ids_of(pair.model, text)
    target = (0, *ids[::-1]) if pair.model.info.family == "encoder-decoder" else None
    texts = [Encoded(ids, target=target), Encoded(random_ids(pair.model, 45), target=target)]
    truth = eager_attentions(pair.eager, **inputs_of(pair.model, texts))
    capture = capture_ids(pair.model, texts, keep=keep, predict=False)[0]
    triples = []
    for kind, stack in capture.stacks.items():
        _, _, queries, keys = stack.shape
        maps = np.stack([layer[0, :, :queries, :keys].numpy() for layer in truth[kind]])
        # Random weights are not exactly zero at visible keys.
        triples.append((stack, maps, (maps > 0).any(1)))
    return triples


@pytest.fixture(params=["one block", "blocks of a head and 8 queries", "no list of copies"])
def long_text(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with small blocks and without lists of pairs too, as for long texts."""
    if request.param != "one block":
        sizes = BlockSizes(score_bytes=1, piece_bytes=1, least_rows=8, most_rows=8)
        monkeypatch.setattr("attnviz.attention.kernel.attend.PROCESSOR_SIZES", sizes)
    if request.param == "no list of copies":
        monkeypatch.setattr(token_pairs, "LISTED_BYTES", 0)


@pytest.mark.usefixtures("long_text")
@pytest.mark.parametrize("text", sorted(TEXTS))
@pytest.mark.parametrize("name", MODELS)
def test_rows_and_heads_equal_the_loops(zoo: Callable[[str], Pair], name: str, text: str) -> None:
    for stack, maps, visible in stacks_and_maps(zoo(name), text):
        ids = stack.query_tokens.ids
        for metric in metrics.names():
            rows, heads = metrics.per_row(metric, stack), metrics.per_head(metric, stack)
            assert rows.shape == stack.shape[:3]
            assert heads.shape == stack.shape[:2]
            if stack.kind == "cross" and metric in ONE_TEXT_ONLY:
                assert np.isnan(rows).all()
                assert np.isnan(heads).all()
                continue
            expected = np.empty(rows.shape)
            for layer, head, row in np.ndindex(rows.shape):
                expected[layer, head, row] = PER_ROW[metric](
                    maps[layer, head], visible[layer], ids, row
                )
            np.testing.assert_allclose(rows, expected, atol=NATS, err_msg=f"{stack.kind} {metric}")
            for layer, head in np.ndindex(heads.shape):
                wanted = per_head(metric, maps[layer, head], visible[layer], ids)
                np.testing.assert_allclose(heads[layer, head], wanted, atol=NATS, err_msg=metric)


def test_every_registered_metric_is_checked() -> None:
    assert set(metrics.names()) == set(PER_ROW)


def test_texts_exercise_both_ways_of_finding_copies(zoo: Callable[[str], Pair]) -> None:
    """Few pairs are gathered, many are masked: the texts must use both."""
    few = {
        text: token_pairs.TokenPairs(torch.tensor([ids_of(zoo("gpt2").model, text)])).block(
            0, LENGTH
        )
        for text in TEXTS
    }
    assert few["repeated"] is not None
    assert few["few words"] is None


@pytest.mark.parametrize("name", MODELS)
def test_statistics_alone_give_the_same_numbers(zoo: Callable[[str], Pair], name: str) -> None:
    whole = stacks_and_maps(zoo(name), "repeated")
    slim = stacks_and_maps(zoo(name), "repeated", keep="statistics")
    for (stack, _, _), (numbers, _, _) in zip(whole, slim, strict=True):
        assert not numbers.keeps_weights
        for metric in metrics.names():
            np.testing.assert_array_equal(
                metrics.per_head(metric, stack), metrics.per_head(metric, numbers)
            )
            rows, slim_rows = metrics.per_row(metric, stack), metrics.per_row(metric, numbers)
            if metric == "sink":  # statistics contain no fixed column but the first
                first = metrics.sink_key(stack) == 0
                assert np.isnan(slim_rows[~first]).all()
                np.testing.assert_allclose(slim_rows[first], rows[first], atol=MODEL)
            else:
                np.testing.assert_array_equal(rows, slim_rows)


@pytest.mark.parametrize("name", MODELS)
def test_received_weight_sums_to_all_weight(zoo: Callable[[str], Pair], name: str) -> None:
    for stack, maps, visible in stacks_and_maps(zoo(name), "repeated"):
        total = np.nansum(metrics.received(stack) * visible.sum(1)[:, None], axis=-1)
        np.testing.assert_allclose(total, maps.sum((-1, -2)), rtol=1e-4)
