"""Planted faults are found and named, and no other head is."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from attnviz.captures.forward_pass import capture_ids
from attnviz.doctor import TextSet, bundled, diagnose
from attnviz.experiments.loss_examples import examples
from attnviz.findings import Verdict
from attnviz.models import instrument
from attnviz.types import Family, Head
from benchmarks.faults import FAULTS, partner, planted, possible, slices
from benchmarks.planted_faults import COPIES, Outcome, make_model, outcomes
from tests.bounds import MODEL

TEXTS = 12


def text_set(family: Family, count: int = TEXTS) -> TextSet:
    everything = bundled(family)
    return replace(everything, texts=everything.texts[:count])


PARTIAL = "partly uniform"

TOGETHER = (
    ("uniform", "positional", "dead", "2 tokens before"),
    ("peaked", "sink", "3 tokens before", "noisy copy"),
    ("redundant", "sink on a token", PARTIAL),
    ("harmful",),  # beside it, no other cost would be measured
)
"""Faults of one diagnosis, each in other heads."""


def check(outcomes: list[Outcome]) -> None:
    for fault in {one.fault for one in outcomes if one.fault is not None}:
        mine = [one for one in outcomes if one.fault == fault]
        missed = [one for one in mine if not one.detected]
        # The texts of a partial fault are chosen by their first word: often too few on one side.
        assert not missed or fault == PARTIAL, [
            (one.finding.head.label, one.finding.name) for one in missed
        ]
        # A sharpened head may choose the first token: then it is a sink as well.
        without_label = ("peaked", PARTIAL, "harmful", "sink on a token")
        assert all(one.named for one in mine) or fault in without_label, [
            one.finding.name for one in mine
        ]
    copies = [one for one in outcomes if one.fault in COPIES]
    assert all(one.finding.partner is not None for one in copies)
    assert [one.finding.head.label for one in outcomes if one.false_alarm] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt-classroom", "random bert", "t5-classroom"])
def test_every_fault_is_found(name: str) -> None:
    """The other models are in `benchmarks.planted_faults`."""
    model = make_model(name)
    assert {fault for group in TOGETHER for fault in group} == set(FAULTS)
    outcome = list(outcomes(name, model, text_set(model.info.family), TOGETHER))
    assert {one.fault for one in outcome} >= set(FAULTS) - {"harmful"}
    assert "harmful" in {one.fault for one in outcome} or name.startswith("random")
    check(outcome)


def test_identical_heads_are_found_as_a_group() -> None:
    """Eight copies: each can be removed, all of them cannot, and none is proven useless."""
    model = make_model("gpt-classroom")
    heads = [Head("self", 0, number) for number in range(8)]
    network = copy.deepcopy(model.network)
    same = instrument(network, model.vocabulary, name="eight copies", predicts=model.predicts)
    with torch.no_grad():
        for head in reversed(heads[1:]):
            first, one = slices(same, heads[0]), slices(same, head)
            for name in ("query", "key", "value", "output"):
                getattr(one, name).copy_(getattr(first, name))
            for mine, other in zip(one.biases or (), first.biases or (), strict=True):
                mine.copy_(other)
    diagnosis = diagnose(same, text_set("decoder", 12), replacements=("zero",))
    (group,) = [one for one in diagnosis.experiments.groups if one.group.function is None]
    assert group.group.heads == tuple(heads) and group.kept in heads
    costs = [diagnosis.finding(head).ablation["zero"].mean for head in heads]
    assert group.everything.mean > 4 * max(costs)
    for head in heads:
        finding = diagnosis.finding(head)
        assert finding.label == "redundant" and finding.group == tuple(heads)
        assert any("8 heads that do the same" in said for said in finding.sentences)
    useless = [one for one in diagnosis.findings if one.degenerate and one.head in heads]
    assert all(one.spare or one.verdict is not Verdict.NO_DIFFERENCE for one in useless)


OLD = ("uniform", "peaked", "sink", "dead", "redundant", "positional")


@pytest.mark.parametrize("fault", OLD)
def test_a_fault_is_what_it_is_called(fault: str) -> None:
    """The planting itself, by what the attention does, before any doctor has seen it."""
    model = make_model("gpt-classroom")
    head = Head("self", 2, 3)
    read = [one.encoded for one in examples(model, text_set("decoder", 6))[0]]
    broken = planted(model, fault, [head], read)
    for text in read:
        one = capture_ids(broken, [text], predict=False)[0]["self"]
        before = capture_ids(model, [text], predict=False)[0]["self"]
        rows = one.weights(2, 3)
        seen = np.arange(1, len(rows) + 1)
        if fault == "uniform":
            np.testing.assert_allclose(rows, np.tri(len(rows)) / seen[:, None], atol=MODEL)
        elif fault == "peaked":
            assert rows.max(1).mean() > 0.98
        elif fault == "sink":
            assert rows[1:, 0].mean() > 0.9
        elif fault == "redundant":
            np.testing.assert_allclose(rows, one.weights(2, partner(model, head).head), atol=MODEL)
            np.testing.assert_allclose(one.value(2, 3), one.value(2, 4), atol=MODEL)
        elif fault == "positional":
            other = capture_ids(broken, [read[0]], predict=False)[0]["self"].weights(2, 3)
            size = min(len(other), len(rows))
            np.testing.assert_allclose(rows[:size, :size], other[:size, :size], atol=MODEL)
            assert rows[8:].argmax(1).tolist() == list(range(5, len(rows) - 3))
        else:
            np.testing.assert_allclose(rows, before.weights(2, 3), atol=MODEL)
        # Nothing below is touched, and no other head of the layer.
        np.testing.assert_allclose(one.weights(1, 3), before.weights(1, 3), atol=MODEL)
        np.testing.assert_allclose(one.weights(2, 0), before.weights(2, 0), atol=MODEL)


def test_planting_leaves_the_model_itself_alone() -> None:
    model = make_model("random bert")
    before = {name: one.clone() for name, one in model.network.state_dict().items()}
    read = [one.encoded for one in examples(model, text_set("encoder", 4))[0]]
    for fault in FAULTS:
        planted(model, fault, [Head("self", 1, 1)], read)
    after = model.network.state_dict()
    assert all(torch.equal(one, after[name]) for name, one in before.items())


def test_what_cannot_be_planted_is_known() -> None:
    t5 = make_model("random t5")
    assert not possible(t5, "uniform", Head("encoder", 0, 0))
    assert possible(t5, "uniform", Head("cross", 0, 0))
    assert possible(make_model("random gpt2"), "sink", Head("self", 2, 1))


@pytest.mark.slow
def test_a_planted_fault_that_matters_is_said_to_matter() -> None:
    """GPT's previous-token head made uniform costs a lot, and its label is not believed blindly."""
    model = make_model("gpt-classroom")
    head = model.info.known_heads[0].head
    texts = text_set("decoder", 12)
    read = [one.encoded for one in examples(model, texts)[0]]
    broken = diagnose(planted(model, "uniform", [head], read), texts, replacements=("zero",))
    finding = broken.finding(head)
    assert finding.label == "uniform"
    healthy = diagnose(model, texts, replacements=("zero",)).finding(head)
    assert healthy.label == "specialised"
    assert healthy.ablation["zero"].low > 0.1
