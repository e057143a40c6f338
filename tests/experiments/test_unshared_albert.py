"""Experiments on an ALBERT equal those on a copy whose layers share nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import attnviz
from attnviz import Edit, Model, edited
from attnviz.captures.forward_pass import Encoded, capture_ids
from attnviz.captures.output_share import output_shares
from attnviz.captures.proof import verify
from attnviz.experiments.ablation import ablate
from attnviz.experiments.decomposition.composition import composition
from attnviz.experiments.decomposition.logit_lens import logit_lens
from attnviz.experiments.decomposition.logit_parts import logit_parts
from attnviz.experiments.edges.edge_gradients import edge_gradients
from attnviz.experiments.edges.edge_removal import remove_edges
from attnviz.experiments.edges.rollout import attention_flow, rollout
from attnviz.experiments.edges.value_norms import value_norms
from attnviz.experiments.edges.value_zeroing import value_zeroing
from attnviz.experiments.edits.edit_effects import effect_of
from attnviz.experiments.edits.heads_off import divergence_without_heads
from attnviz.experiments.gradient_importance import importance
from attnviz.experiments.hooked_model import head_projections
from attnviz.experiments.loss_examples import Example, LossInput
from attnviz.experiments.patching.head_patches import patch_heads, patch_together
from attnviz.experiments.patching.head_paths import patch_paths
from attnviz.experiments.patching.stream_patches import patch_stream
from attnviz.experiments.patching.text_pair import LogitDifference
from attnviz.experiments.prediction_divergence import prediction_divergence
from attnviz.types import Head
from tests.bounds import MODEL, MODEL_NATS
from tests.experiments.plain_hooks import PROJECTIONS, hooked, kept_parts, patched_by_hooks
from tests.experiments.test_edits import EDITS, fast_logits, slow_logits
from tests.experiments.test_head_paths import by_hooks, outputs_of
from tests.experiments.test_patching import pair_of
from tests.experiments.unshared_albert import SIZES, pair_of_sizes
from tests.zoo import Pair, inputs_of, random_ids

DIFFERENCE = LogitDifference(9, 12)
HEADS, WIDTH = 4, 32
DIM = WIDTH // HEADS
GROUP = "albert.encoder.albert_layer_groups.{}"


@pytest.fixture(scope="module", params=SIZES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair_of_sizes(request.param, tmp_path_factory.mktemp("albert"))


@pytest.fixture(scope="module")
def hardest(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Return the ALBERT with several groups of several layers."""
    return pair_of_sizes("two of both", tmp_path_factory.mktemp("albert"))


def layers_of(pair: Pair) -> int:
    """Return the number of layers that a model runs."""
    return len(pair.eager.albert.encoder.albert_layer_groups)


def logits_of(pair: Pair, ids: Sequence[int]) -> Tensor:
    """Return the logits of the model without sharing."""
    with torch.inference_mode():
        logits: Tensor = pair.eager(torch.tensor([list(ids)])).logits[0]
    return logits


@pytest.mark.parametrize("edits", EDITS)
def test_edits_equal_slow_loops_without_sharing(edits: str, hardest: Pair) -> None:
    ids = random_ids(hardest.model, 9)
    changed = fast_logits(hardest.model, ids, EDITS[edits])
    expected = slow_logits(hardest, ids, EDITS[edits])
    torch.testing.assert_close(changed, expected, atol=MODEL_NATS, rtol=0)
    assert float((changed - logits_of(hardest, ids)).abs().max()) > 10 * MODEL_NATS


def test_an_edit_of_any_layer_is_of_that_layer_alone(pair: Pair) -> None:
    ids = random_ids(pair.model, 9)
    plain = logits_of(pair, ids)
    layers = layers_of(pair)
    assert pair.model.info.heads["self"] == (layers, HEADS)
    logits = []
    for layer in range(layers):
        edits = [Edit("zero", Head("self", layer, 1))]
        logits.append(fast_logits(pair.model, ids, edits))

        def off(numbers: Tensor) -> Tensor:
            changed = numbers.clone()
            changed[..., DIM : 2 * DIM] = 0
            return changed

        place = PROJECTIONS["albert", "self"]["output"].format(layer)
        with hooked(pair.eager, place, "output", off):
            expected = logits_of(pair, ids)
        torch.testing.assert_close(logits[-1], expected, atol=MODEL_NATS, rtol=0)
        again = fast_logits(pair.model, ids, edits)
        torch.testing.assert_close(again, logits[-1], atol=MODEL_NATS, rtol=0)
    every = torch.stack([plain, *logits])
    apart = torch.cdist(every.flatten(1), every.flatten(1)) + 100 * torch.eye(layers + 1)
    assert float(apart.min()) > 10 * MODEL_NATS  # no two layers are mistaken for each other


class Broken(Exception):
    """Error of a run that breaks off."""


def test_a_run_that_breaks_off_moves_no_later_one(hardest: Pair) -> None:
    model, ids = hardest.model, random_ids(hardest.model, 9)
    edits = [Edit("first", Head("self", 3, 2))]
    before = fast_logits(model, ids, edits)
    third = model.network.get_submodule(GROUP.format(2))

    def fail(*_: Any) -> None:
        raise Broken

    handle = third.register_forward_hook(fail)
    context = edited(model, edits)
    with context:
        try:
            for _ in range(2):
                with pytest.raises(Broken):
                    model.network(torch.tensor([ids]))
        finally:
            handle.remove()
        with torch.inference_mode():
            behind = model.network(torch.tensor([ids])).logits[0]
            again = model.network(torch.tensor([ids])).logits[0]
    for one in (behind, again):
        torch.testing.assert_close(one, before, atol=MODEL_NATS, rtol=0)
    expected = slow_logits(hardest, ids, edits)
    torch.testing.assert_close(before, expected, atol=MODEL_NATS, rtol=0)


@pytest.mark.parametrize("part", ["output", "query", "key", "value"])
def test_patched_heads_equal_plain_hooks_without_sharing(part: Any, pair: Pair) -> None:
    texts = pair_of(pair.model)
    effects = patch_heads(pair.model, texts, DIFFERENCE, part)
    clean, corrupted = (inputs_of(pair.model, [one]) for one in (texts.clean, texts.corrupted))
    with torch.inference_mode():
        kept = kept_parts(pair.eager, "albert", "self", part, clean)
    assert len(kept) == layers_of(pair)
    for layer in range(len(kept)):
        for head in range(HEADS):
            logits = patched_by_hooks(
                pair.eager, "albert", Head("self", layer, head), part, kept, corrupted,
                (DIM, 1, WIDTH),
            )  # fmt: skip
            expected = float(DIFFERENCE.of(logits)[0])
            assert abs(effects.patched["self"][layer, head] - expected) < MODEL_NATS
    assert np.abs(effects.patched["self"] - effects.corrupted).max() > 10 * MODEL_NATS


@pytest.mark.parametrize("reads", ["query", "key", "value"])
def test_paths_equal_plain_hooks_without_sharing(reads: Any, hardest: Pair) -> None:
    texts, receiver = pair_of(hardest.model), Head("self", 4, 1)
    paths = patch_paths(hardest.model, texts, DIFFERENCE, receiver, reads)
    table = paths.patched["self"]
    outputs = outputs_of(hardest, "albert", texts)
    for layer, head in np.ndindex(4, HEADS):
        sender = Head("self", layer, head)
        logits = by_hooks(hardest, "albert", texts, outputs, sender, receiver, reads)
        assert table[layer, head] == pytest.approx(float(DIFFERENCE.of(logits)[0]), abs=MODEL)
    assert np.isnan(table[4:]).all()
    assert np.nanmax(np.abs(table - paths.corrupted)) > 2 * MODEL


def test_patched_streams_equal_plain_hooks_without_sharing(pair: Pair) -> None:
    texts = pair_of(pair.model)
    effects = patch_stream(pair.model, texts, DIFFERENCE)
    clean, corrupted = (inputs_of(pair.model, [one]) for one in (texts.clean, texts.corrupted))
    assert len(effects.patched) == layers_of(pair)
    for layer in range(layers_of(pair)):
        group = pair.eager.get_submodule(GROUP.format(layer))
        kept: list[Tensor] = []
        handle = group.register_forward_hook(lambda *given, kept=kept: kept.append(given[-1]))
        with torch.inference_mode():
            pair.eager(**clean)
        handle.remove()
        for position in range(effects.patched.shape[1]):

            def put(*given: Any, kept: list[Tensor] = kept, position: int = position) -> Tensor:
                stream: Tensor = given[-1].clone()
                stream[0, position] = kept[0][0, position]
                return stream

            handle = group.register_forward_hook(put)
            with torch.inference_mode():
                logits = pair.eager(**corrupted).logits
            handle.remove()
            expected = float(DIFFERENCE.of(logits)[0])
            assert abs(effects.patched[layer, position] - expected) < MODEL_NATS


def test_the_lens_reads_what_fewer_layers_predict(pair: Pair) -> None:
    ids = random_ids(pair.model, 7)
    lens = logit_lens(pair.model, Encoded(ids))
    config = pair.eager.albert.encoder.config
    whole = config.num_hidden_layers
    try:
        for layer in range(1, whole + 1):
            # The first groups alone: as many runs, of as many groups.
            config.num_hidden_layers = config.num_hidden_groups = layer
            shares = logits_of(pair, ids).softmax(-1)
            np.testing.assert_array_equal(lens.best[layer], shares.argmax(-1))
            np.testing.assert_allclose(lens.probability[layer], shares.max(-1).values, atol=MODEL)
    finally:
        config.num_hidden_layers = config.num_hidden_groups = whole


def test_divergence_without_a_head_equals_hooks_without_sharing(hardest: Pair) -> None:
    ids = random_ids(hardest.model, 6)
    tables = divergence_without_heads(hardest.model, Encoded(ids))["self"]
    plain = logits_of(hardest, ids).log_softmax(-1)
    for layer, head in np.ndindex(tables.shape[:2]):

        def off(numbers: Tensor, head: int = head) -> Tensor:
            changed = numbers.clone()
            changed[..., head * DIM : (head + 1) * DIM] = 0
            return changed

        place = PROJECTIONS["albert", "self"]["output"].format(layer)
        with hooked(hardest.eager, place, "output", off):
            without = logits_of(hardest, ids).log_softmax(-1)
        expected = prediction_divergence(plain, without)
        np.testing.assert_allclose(tables[layer, head], expected, atol=MODEL)
    assert tables.max() > 100 * MODEL


def _examples(ids: tuple[int, ...]) -> list[Example]:
    return [
        Example(number, Encoded(part), (LossInput(Encoded(part), (1, 3), (part[1], part[2])),))
        for number, part in enumerate((ids, ids[:5]))
    ]


def _stack(model: Model, ids: tuple[int, ...]) -> Any:
    return capture_ids(model, [Encoded(ids)])[0]["self"]


HEAD = Head("self", 2, 1)
EXPERIMENTS: Mapping[str, Callable[[Model, tuple[int, ...]], Any]] = {
    "edges removed": lambda model, ids: remove_edges(model, Encoded(ids), HEAD, [(3, 1), (5, 0)]),
    "gradients of edges": lambda model, ids: edge_gradients(model, Encoded(ids), HEAD),
    "values zeroed": lambda model, ids: value_zeroing(model, Encoded(ids), HEAD),
    "norms of values": lambda model, ids: value_norms(model, _stack(model, ids), HEAD),
    "rollout": lambda model, ids: rollout(_stack(model, ids), 2),
    "flow": lambda model, ids: attention_flow(_stack(model, ids), 2, 5),
    "ablation": lambda model, ids: ablate(model, _examples(ids)),
    "importance": lambda model, ids: importance(model, _examples(ids)),
    "direct effects": lambda model, ids: logit_parts(model, Encoded(ids), DIFFERENCE),
    "composition": lambda model, ids: composition(model),
    "projections": lambda model, ids: head_projections(model),
    "patterns": lambda model, ids: patch_heads(model, pair_of(model), DIFFERENCE, "pattern"),
    "together": lambda model, ids: patch_together(
        model, pair_of(model), DIFFERENCE, [Head("self", layer, 1) for layer in (0, 2, 3)]
    ),
    "effect of an edit": lambda model, ids: effect_of(
        model, Encoded(ids), [Edit("uniform", HEAD)], masked=[2], position=2
    ),
    "shares of outputs": lambda model, ids: output_shares(model, Encoded(ids)),
}


def numbers_in(value: Any) -> list[np.ndarray]:
    """Return all numbers of a result, in a fixed order."""
    if isinstance(value, Tensor):
        return [value.detach().double().numpy().ravel()]
    if isinstance(value, np.ndarray):
        return [value.astype(float).ravel()] if value.dtype != object else []
    if isinstance(value, (int, float)):
        return [np.array([float(value)])]
    if dataclasses.is_dataclass(value):
        value = [getattr(value, one.name) for one in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [part for one in value for part in numbers_in(one)] if isinstance(
        value, (list, tuple)
    ) else []  # fmt: skip


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_gives_what_it_gives_without_sharing(
    experiment: str, hardest: Pair
) -> None:
    run, ids = EXPERIMENTS[experiment], random_ids(hardest.model, 7)
    separate = attnviz.instrument(hardest.eager, hardest.model.tokenizer)
    assert separate.network is hardest.eager  # nothing to take apart
    shared = np.concatenate(numbers_in(run(hardest.model, ids)))
    expected = np.concatenate(numbers_in(run(separate, ids)))
    assert np.isfinite(expected).any() and np.abs(expected[np.isfinite(expected)]).max() > MODEL
    np.testing.assert_allclose(shared, expected, atol=MODEL_NATS, rtol=1e-3)


def test_direct_effects_sum_to_the_logit_difference(pair: Pair) -> None:
    ids = random_ids(pair.model, 7)
    parts = logit_parts(pair.model, Encoded(ids), DIFFERENCE)
    logits = logits_of(pair, ids)[-1]
    assert parts.total == pytest.approx(float(logits[9] - logits[12]), abs=MODEL_NATS)
    whole = parts.embedding + parts.heads["self"].sum() + parts.rest.sum() + parts.constant
    assert whole == pytest.approx(parts.total, abs=MODEL_NATS)


def test_the_proof_compares_with_the_model_that_was_given(pair: Pair) -> None:
    capture = capture_ids(pair.model, [Encoded(random_ids(pair.model, 9))])[0]
    proof = verify(capture, model=pair.model)
    assert proof.holds and proof.logits < proof.logits_bound
    config = pair.model.original.albert.encoder.config
    runs = config.num_hidden_layers
    try:
        config.num_hidden_layers = runs + 1  # as if the library ran the layers otherwise
        assert not verify(capture, model=pair.model).holds
    finally:
        config.num_hidden_layers = runs
