"""Measures of edges equal slow loops, definitions and other libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import networkx
import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from attnviz.captures.forward_pass import capture_ids
from attnviz.errors import InputError
from attnviz.experiments.edges.edge_gradients import edge_gradients
from attnviz.experiments.edges.edge_removal import remove_edges
from attnviz.experiments.edges.rank_agreement import rank_agreement
from attnviz.experiments.edges.rollout import attention_flow, mixing, rollout
from attnviz.experiments.edges.value_norms import value_norms
from attnviz.experiments.edges.value_zeroing import value_zeroing
from attnviz.models import Encoded
from attnviz.types import Head
from tests.bounds import MODEL
from tests.experiments.slow_attention import slow_model
from tests.zoo import inputs_of, random_ids, random_texts

if TYPE_CHECKING:
    from tests.zoo import Pair

HEAD = Head("self", 1, 2)
TOKENS = 6


def slow_logits(pair: Pair, ids: tuple[int, ...], scale: dict[tuple[int, int], float]) -> Tensor:
    """Return log-probabilities of the library's model with some weights of a head scaled."""
    causal = pair.model.info.family == "decoder"

    def row(layer: int, head: int, query: int, scores: Tensor) -> Tensor:
        seen = scores[: query + 1] if causal else scores
        weights = torch.zeros_like(scores)
        weights[: len(seen)] = seen.softmax(-1)
        for (one, key), factor in scale.items():
            if (layer, head, query) == (HEAD.layer, HEAD.head, one):
                weights[key] *= factor
        return weights

    with torch.inference_mode(), slow_model(pair.eager, row) as network:
        logits: Tensor = network(torch.tensor([ids])).logits[0, -1]
    return logits.double().log_softmax(-1)


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert"])
def test_removed_edges_and_gradients_equal_slow_loops(
    name: str, zoo: Callable[[str], Pair]
) -> None:
    pair = zoo(name)
    ids = random_ids(pair.model, TOKENS)
    edges = [(5, 1), (3, 2), (5, 5), (2, 0)]
    measured = remove_edges(pair.model, Encoded(ids), HEAD, edges)
    slopes = edge_gradients(pair.model, Encoded(ids), HEAD)
    plain = slow_logits(pair, ids, {})
    best = int(plain.argmax())
    step = 0.05
    for at, edge in enumerate(edges):
        without = slow_logits(pair, ids, {edge: 0.0})
        expected = float((plain.exp() * (plain - without)).sum())
        assert measured.divergence[at] == pytest.approx(expected, abs=MODEL)
        assert measured.loss[at] == pytest.approx(float((plain - without)[best]), abs=MODEL)
        up, down = (
            float(slow_logits(pair, ids, {edge: 1 + sign * step})[best]) for sign in (1, -1)
        )
        assert slopes[edge] == pytest.approx(
            (up - down) / (2 * step), abs=2 * MODEL + 0.02 * abs(up - down)
        )
    assert np.abs(measured.loss).max() > 20 * MODEL
    assert np.abs(slopes).max() > 20 * MODEL


def test_value_norms_equal_a_loop_over_the_weights(zoo: Callable[[str], Pair]) -> None:
    for name in ("gpt2", "llama"):
        pair = zoo(name)
        text = Encoded(random_ids(pair.model, TOKENS))
        stack = capture_ids(pair.model, [text])[0]["self"]
        if name == "gpt2":
            matrix = pair.eager.transformer.h[1].attn.c_proj.weight[16:24]
        else:
            matrix = pair.eager.model.layers[1].self_attn.o_proj.weight.T[16:24]
        measured = value_norms(pair.model, stack, HEAD)
        weights, values = stack.weights(1, 2), stack.value(1, 2)
        for query in range(TOKENS):
            for key in range(TOKENS):
                added = weights[query, key] * values[key] @ matrix.detach().numpy()
                assert measured[query, key] == pytest.approx(np.sqrt((added**2).sum()), abs=1e-4)


def test_value_zeroing_equals_runs_without_a_key(zoo: Callable[[str], Pair]) -> None:
    pair = zoo("gpt2")
    ids = random_ids(pair.model, TOKENS)
    measured = value_zeroing(pair.model, Encoded(ids), HEAD)

    def streams(without: int | None) -> Tensor:
        def row(layer: int, head: int, query: int, scores: Tensor) -> Tensor:
            weights = torch.zeros_like(scores)
            weights[: query + 1] = scores[: query + 1].softmax(-1)
            if without is not None and (layer, head) == (1, 2):
                weights[without] = 0  # as a value of zero
            return weights

        with torch.inference_mode(), slow_model(pair.eager, row) as network:
            kept: list[Tensor] = []
            network.transformer.h[1].register_forward_hook(
                lambda module, given, output: kept.append(
                    output if isinstance(output, Tensor) else output[0]
                )
            )
            network(torch.tensor([ids]))
        return kept[0][0].double()

    whole = streams(None)
    for key in range(TOKENS):
        expected = 1 - torch.cosine_similarity(streams(key), whole, dim=-1)
        np.testing.assert_allclose(measured[:, key], expected, atol=1e-5)
    assert measured.max() > 1e-3
    assert np.abs(np.triu(measured, 1)).max() < 1e-6  # a later key is not seen


def test_every_measure_of_an_encoder_decoder(zoo: Callable[[str], Pair]) -> None:
    model = zoo("t5").model
    text = random_texts(model, (7,))[0]
    capture = capture_ids(model, [text])[0]
    for kind in ("encoder", "decoder", "cross"):
        head = Head(kind, 1, 1)  # type: ignore[arg-type]
        queries, keys = capture[kind].shape[2:]
        for table in (
            value_norms(model, capture[kind], head),
            edge_gradients(model, text, head),
            value_zeroing(model, text, head),
        ):
            assert table.shape == (queries, keys)
            assert np.isfinite(table).all()
        removed = remove_edges(model, text, head, [(queries - 1, 0)])
        slope = edge_gradients(model, text, head)[queries - 1, 0]
        assert removed.loss[0] == pytest.approx(slope, abs=max(0.5 * abs(slope), 5e-3))


def test_rollout_is_the_product_of_mean_weights_and_residuals(zoo: Callable[[str], Pair]) -> None:
    pair = zoo("gpt2")
    text = Encoded(random_ids(pair.model, TOKENS))
    stack = capture_ids(pair.model, [text])[0]["self"]
    with torch.inference_mode():
        weights = pair.eager(**inputs_of(pair.model, [text]), output_attentions=True).attentions
    expected = np.eye(TOKENS)
    for layer in range(3):
        mixture = 0.5 * weights[layer][0].double().mean(0).numpy() + 0.5 * np.eye(TOKENS)
        np.testing.assert_allclose(mixing(stack, layer), mixture, atol=1e-5)
        expected = mixture @ expected
        np.testing.assert_allclose(rollout(stack, layer), expected, atol=1e-5)


def test_flow_equals_the_smallest_cut_and_is_bounded_by_a_row(zoo: Callable[[str], Pair]) -> None:
    stack = capture_ids(zoo("gpt2").model, [Encoded(random_ids(zoo("gpt2").model, 4))])[0]["self"]
    flow = attention_flow(stack, 1, 3)
    np.testing.assert_allclose(attention_flow(stack, 0, 3), mixing(stack, 0)[3], atol=1e-9)
    graph = networkx.DiGraph()
    for level in range(2):
        table = mixing(stack, level)
        for row in range(4):
            for column in range(row + 1):
                graph.add_edge(
                    f"{level + 1}.{row}", f"{level}.{column}", capacity=table[row, column]
                )
    for key in range(4):
        cut, _ = networkx.minimum_cut(graph, "2.3", f"0.{key}")
        by_paths = sum(
            min(mixing(stack, 1)[3, middle], mixing(stack, 0)[middle, key]) for middle in range(4)
        )  # with two layers, paths share no edge
        assert flow[key] == pytest.approx(cut, abs=1e-9)
        assert flow[key] == pytest.approx(by_paths, abs=1e-9)
    t5 = zoo("t5").model
    crossed = capture_ids(t5, random_texts(t5, (7,)))[0]["cross"]
    with pytest.raises(InputError, match="cross-attention reads two texts"):
        rollout(crossed, 0)


def test_rank_agreement_equals_scipy() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        one, other = generator.integers(0, 6, (2, 30)).astype(float)  # with ties
        expected = scipy.stats.spearmanr(one, other).statistic
        assert rank_agreement(one, other) == pytest.approx(expected)
    one[3] = np.nan
    assert np.isfinite(rank_agreement(one, other))
    assert np.isnan(rank_agreement(np.ones(5), np.arange(5.0)))


def test_edges_that_do_not_exist_are_refused(zoo: Callable[[str], Pair]) -> None:
    model = zoo("gpt2").model
    text = Encoded(random_ids(model, TOKENS))
    with pytest.raises(InputError, match="no edge from key 9"):
        remove_edges(model, text, HEAD, [(0, 9)])
    with pytest.raises(InputError, match="no position 9"):
        remove_edges(model, text, HEAD, [(0, 0)], 9)
    with pytest.raises(InputError, match="has no head"):
        edge_gradients(model, text, Head("self", 9, 0))
