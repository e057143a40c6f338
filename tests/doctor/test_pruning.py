"""Lists for pruning: order, file, and the loss of a model whose heads are really cut."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace

import pytest
import torch

import attnviz
from attnviz.doctor import diagnose
from attnviz.doctor.pruning import pruning_file
from attnviz.experiments.loss_examples import examples
from attnviz.experiments.text_sets import as_text_set
from attnviz.findings import Finding, Interval, Verdict
from attnviz.removals import by_surprise, kept_heads, removal_cost, removals
from attnviz.types import Head

TEXTS = [
    "The old king sat down. The old king sat down again.",
    "A small boat left the harbour before the sun came up.",
    "She bought three apples, two pears and a loaf of bread.",
    "The dog ran to the tree and the dog ran to the house.",
]


def finding(head: int, cost: float, verdict: Verdict, label: str = "healthy") -> Finding:
    ablation = {} if math.isnan(cost) else {"zero": Interval(cost, cost, cost, 0.0, 4)}
    return Finding(Head("self", 0, head), label, ablation=ablation, verdict=verdict)


def test_lists_and_order() -> None:
    findings = [
        finding(0, 0.001, Verdict.NO_DIFFERENCE),
        finding(1, 2.29, Verdict.NEEDED, "peaked"),
        finding(2, -0.03, Verdict.BETTER_WITHOUT),
        finding(3, 0.5, Verdict.NEEDED),
        finding(4, math.nan, Verdict.NOT_TESTED, "uniform"),
        finding(5, -0.5, Verdict.BETTER_WITHOUT),
        finding(6, math.nan, Verdict.NOT_TESTED, "non-finite"),
    ]
    lists = removals(findings)
    assert [one.head.head for one in lists.better_without] == [5, 2]
    assert [one.head.head for one in lists.needed] == [3, 1]
    assert [one.head.head for one in lists.not_tested] == [4, 6]
    assert [one.head.head for one in by_surprise(findings)] == [6, 1, 5, 2, 4, 3, 0]


def test_one_head_of_a_group_is_kept() -> None:
    heads = [Head("self", 0, number) for number in range(7)]

    def member(number: int, cost: float, verdict: Verdict, group: range) -> Finding:
        one = finding(number, cost, verdict, "redundant")
        spare = verdict is Verdict.NO_DIFFERENCE
        return replace(one, group=tuple(heads[each] for each in group), spare=spare)

    findings = [
        member(0, 0.001, Verdict.NO_DIFFERENCE, range(3)),
        member(1, 0.004, Verdict.NO_DIFFERENCE, range(3)),
        member(2, -0.01, Verdict.BETTER_WITHOUT, range(3)),
        member(3, 0.5, Verdict.NEEDED, range(3, 5)),  # kept by its verdict
        member(4, 0.001, Verdict.NO_DIFFERENCE, range(3, 5)),
        replace(finding(5, 0.002, Verdict.NO_DIFFERENCE), partner=heads[6], spare=True),
        replace(finding(6, 0.002, Verdict.NO_DIFFERENCE), partner=heads[5], spare=True),
    ]
    assert kept_heads(findings) == {heads[1], heads[5]}
    assert kept_heads([replace(one, spare=False) for one in findings]) == frozenset()


@pytest.mark.slow
def test_a_model_with_a_head_cut_out_loses_what_the_file_says() -> None:
    model = attnviz.load("gpt-classroom")
    diagnosis = diagnose(model, TEXTS, replacements=("zero",))
    file = json.loads(json.dumps(pruning_file(diagnosis), allow_nan=False))
    listed = [*file["better_without"], *file["no_difference"], *file["needed"], *file["unclear"]]
    assert len(listed) == 32
    cut = {(int(layer), head) for layer, heads in file["prune_heads"].get("self", {}).items()
           for head in heads}  # fmt: skip
    assert cut == {(one["layer"], one["head"])
                   for one in (*file["better_without"], *file["no_difference"])
                   if one not in file["kept"]}  # fmt: skip

    read, _ = examples(model, as_text_set(TEXTS, "decoder"))
    ids = [torch.tensor([one.encoded.ids]) for one in read]

    def loss() -> float:
        total, tokens = 0.0, 0
        with torch.inference_mode():
            for text in ids:
                scores = model.network(input_ids=text).logits[0, :-1].double()
                total -= float(torch.log_softmax(scores, -1)[range(len(scores)), text[0, 1:]].sum())
                tokens += len(scores)
        return total / tokens

    whole = loss()
    for one in (listed[0], listed[-1]):
        layer, head = one["layer"], one["head"]
        projection = model.network.transformer.h[layer].attn.c_proj.weight
        size = projection.shape[0] // 8
        kept = projection.detach().clone()
        with torch.no_grad():
            projection[head * size : (head + 1) * size] = 0
        try:
            assert loss() - whole == pytest.approx(one["cost"], abs=1e-4)
        finally:
            with torch.no_grad():
                projection.copy_(kept)
    size = model.network.transformer.h[0].attn.c_proj.weight.shape[0] // 8
    state = copy.deepcopy(model.network.state_dict())
    with torch.no_grad():  # all heads of the list at once
        for layer, head in cut:
            model.network.transformer.h[layer].attn.c_proj.weight[
                head * size : (head + 1) * size
            ] = 0
    try:
        assert len(cut) > 1
        assert loss() - whole == pytest.approx(file["all_together"]["mean"], abs=1e-4)
    finally:
        model.network.load_state_dict(state)
    assert diagnosis.pruning.count(f"emoving all {len(cut)} heads of the list for pruning") == 1
    moved = diagnosis.relabelled(replace(diagnosis.thresholds, tolerance=0.1))
    assert moved.pruning.startswith("The limits were moved")
    assert pruning_file(moved)["all_together"] is None
    assert removal_cost(diagnosis.findings[0]) == pytest.approx(
        next(o["cost"] for o in listed if (o["layer"], o["head"]) == (0, 0))
    )
