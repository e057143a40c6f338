"""Two models on the same texts, beside the library's own weights."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

import attnviz
from attnviz import Model
from attnviz.doctor import Change, Comparison, Diagnosis, Text, TextSet, compare
from attnviz.doctor.loss_outcome import LossOutcome
from attnviz.doctor.measures.bootstrap import intervals
from attnviz.doctor.measures.text_losses import TextLosses
from attnviz.doctor.terminal_report import comparison_summary
from attnviz.errors import InputError
from attnviz.experiments.loss_examples import examples
from attnviz.findings import Finding, Interval, Label, Progress, Verdict
from attnviz.types import Head
from attnviz.views.report.comparison_sentences import comparison_sentences
from tests.bounds import MODEL, SAME
from tests.zoo import eager_attentions, make_pair

TEXTS = TextSet(
    "mine",
    (
        Text("The cat sat on the mat, and the dog sat on the cat."),
        Text("One two three four, one two three four."),
        Text("He said that she said that he was late again today."),
    ),
)
LAYER, HEAD = 1, 2


def changed_copy(model: Model, folder: Path) -> Model:
    """Return the same GPT-2 with other queries in one head, loaded like a fine-tuned checkpoint."""
    network = copy.deepcopy(model.network)
    weight = network.get_submodule(f"transformer.h.{LAYER}.attn.c_attn").weight
    assert isinstance(weight, torch.Tensor)
    width = weight.shape[0] // model.info.heads["self"][1]
    with torch.no_grad():
        weight[:, HEAD * width : (HEAD + 1) * width].neg_()
    network.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return attnviz.load(str(folder))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Model]:
    base = make_pair("gpt2", tmp_path_factory.mktemp("base")).model
    return base, changed_copy(base, tmp_path_factory.mktemp("tuned"))


def test_divergence_and_shift_are_those_of_the_librarys_weights(pair: tuple[Model, Model]) -> None:
    base, tuned = pair
    comparison = compare(base, tuned, TEXTS, ablate=False)
    read, _ = examples(base, TEXTS)
    apart = np.zeros((*base.info.heads["self"], len(read)))
    shift = np.zeros_like(apart)
    for text, one in enumerate(read):
        ids = torch.tensor([one.encoded.ids])
        maps = []
        for model in (base, tuned):
            eager = copy.deepcopy(model.network)
            eager.set_attn_implementation("eager")
            maps.append(torch.stack(eager_attentions(eager, input_ids=ids)["self"])[:, 0].double())
        mine, theirs = (one.numpy() for one in maps)
        for layer, head in np.ndindex(apart.shape[:2]):
            rows = jensenshannon(mine[layer, head], theirs[layer, head], axis=-1) ** 2
            apart[layer, head, text] = np.nan_to_num(rows).mean()
        entropy = [torch.special.entr(one).sum(-1).mean(-1).numpy() for one in maps]
        shift[..., text] = entropy[1] - entropy[0]
    np.testing.assert_allclose(comparison.divergence["self"].mean, apart.mean(-1), atol=MODEL)
    np.testing.assert_allclose(comparison.entropy_shift["self"].mean, shift.mean(-1), atol=MODEL)
    assert (comparison.divergence["self"].texts == len(read)).all()
    # Only the changed head of its layer, and nothing below it, looks elsewhere.
    moved = comparison.divergence["self"].mean > 1e-4
    assert not moved[:LAYER].any()
    assert moved[LAYER].tolist() == [head == HEAD for head in range(4)]
    assert moved[LAYER + 1].all()


def test_models_that_were_trained_apart_have_a_note(
    pair: tuple[Model, Model], tmp_path: Path
) -> None:
    base, tuned = pair
    assert not any("trained apart" in note for note in compare(base, tuned, TEXTS).notes)
    network = copy.deepcopy(base.network)
    weight = network.get_input_embeddings().weight
    with torch.no_grad():  # other vectors of the same lengths, as another seed draws them
        weight.copy_(
            weight[torch.randperm(len(weight), generator=torch.Generator().manual_seed(1))]
        )
    network.save_pretrained(tmp_path)
    base.tokenizer.save_pretrained(tmp_path)
    (note,) = compare(base, attnviz.load(str(tmp_path)), TEXTS, ablate=False).notes
    assert note.startswith(f"{base.info.name} and ") and "trained apart" in note
    other = replace(base, info=replace(base.info, model_type="llama"))
    (note,) = compare(base, other, TEXTS, ablate=False).notes
    assert "trained apart" in note


def test_a_model_beside_itself_has_not_changed(pair: tuple[Model, Model]) -> None:
    base, _ = pair
    reports: list[Progress] = []
    comparison = compare(base, base, TEXTS, progress=reports.append)
    assert comparison.changes == ()
    assert not comparison.table["changed"].any()
    np.testing.assert_allclose(comparison.divergence["self"].mean, 0, atol=SAME)
    np.testing.assert_allclose(comparison.entropy_shift["self"].mean, 0, atol=SAME)
    shares = [one.share for one in reports]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    assert len(comparison.table) == 12


@pytest.mark.slow
def test_a_head_that_became_uniform_is_among_the_changes(tmp_path: Path) -> None:
    base = attnviz.load("gpt-classroom")
    head = base.info.known_heads[0].head
    network = copy.deepcopy(base.network)
    weight = network.get_submodule(f"transformer.h.{head.layer}.attn.c_attn").weight
    bias = network.get_submodule(f"transformer.h.{head.layer}.attn.c_attn").bias
    assert isinstance(weight, torch.Tensor) and isinstance(bias, torch.Tensor)
    width = weight.shape[0] // base.info.heads["self"][1]
    with torch.no_grad():
        weight[:, head.head * width : (head.head + 1) * width] = 0
        bias[head.head * width : (head.head + 1) * width] = 0
    network.save_pretrained(tmp_path)
    base.tokenizer.save_pretrained(tmp_path)
    comparison = compare(base, attnviz.load(str(tmp_path)), ablate=False)
    changed = {change.head: change for change in comparison.changes}
    assert changed[head].after.label == "uniform"
    assert changed[head].before.label == "specialised"
    assert "it has become degenerate" in changed[head].sentence
    row = comparison.table.set_index(["kind", "layer", "head"]).loc[("self", head.layer, head.head)]
    assert row["entropy_shift_low"] > 0
    assert row["after"] == changed[head].after.name


def test_models_that_cannot_be_compared_are_refused(
    pair: tuple[Model, Model], tmp_path_factory: pytest.TempPathFactory
) -> None:
    base, _ = pair
    with pytest.raises(InputError, match=r"has 3 layers of 4 heads.*same layers and heads"):
        compare(base, attnviz.load("gpt-classroom"), TEXTS)
    other = make_pair("llama", tmp_path_factory.mktemp("llama")).model
    if other.info.heads == base.info.heads:
        assert compare(base, other, TEXTS, ablate=False).divergence  # same tokens, same shape
    bert = make_pair("bert", tmp_path_factory.mktemp("bert")).model
    with pytest.raises(InputError, match="only two models of one kind"):
        compare(base, bert, TEXTS)


def test_the_report_has_both_models_and_every_number(pair: tuple[Model, Model]) -> None:
    comparison = compare(*pair, TEXTS)
    plain = json.loads(json.dumps(comparison.plain(), allow_nan=False))
    assert plain["sentences"] == list(comparison.sentences)
    for one in plain["heads"]:
        value = comparison.divergence[one["kind"]].mean[one["layer"], one["head"]]
        assert one["divergence"]["mean"] == pytest.approx(value)
    page = comparison.html()
    for name in (comparison.first.model.name, comparison.second.model.name):
        assert page.count(escape(name)) >= 3
    assert page == comparison.html()
    for text in TEXTS.texts:
        assert text.source not in page


def test_other_tokens_are_refused(pair: tuple[Model, Model]) -> None:
    base, tuned = pair
    tuned.tokenizer.add_tokens(["cat"])
    with pytest.raises(InputError, match="split these texts into different tokens"):
        compare(base, tuned, TEXTS, ablate=False)


def finding(name: str, verdict: Verdict, *, close: tuple[str, ...] = ()) -> Finding:
    label, _, detail = name.partition(": ")
    return Finding(Head("self", 0, 1), label, detail, verdict=verdict, close=close)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "ruined", "said"),
    [
        (
            ("uniform", Verdict.NO_DIFFERENCE),
            ("healthy", Verdict.NEEDED),
            False,
            "it has recovered",
        ),
        (("uniform", Verdict.NO_DIFFERENCE), ("healthy", Verdict.NEEDED), True, "no longer looks"),
        (("uniform", Verdict.NO_DIFFERENCE), ("positional", Verdict.UNCLEAR), False, "no longer"),
        (("uniform", Verdict.NEEDED), ("healthy", Verdict.NEEDED), False, "no longer looks"),
        (("healthy", Verdict.NEEDED), ("dead", Verdict.NO_DIFFERENCE), False, "become degenerate"),
        (("healthy", Verdict.NEEDED), ("uniform", Verdict.NEEDED), False, "but the model needs it"),
    ],
)
def test_a_change_needs_evidence(
    before: tuple[str, Verdict], after: tuple[str, Verdict], ruined: bool, said: str
) -> None:
    change = Change(Head("self", 0, 1), finding(*before), finding(*after), ruined)
    assert change.clear and said in change.sentence
    assert change.recovered == ("recovered" in said)


@pytest.mark.parametrize(
    ("before", "after"),
    [((), ("uniform",)), (("uniform",), ()), ((), ("positional",)), (("positional",), ())],
)
def test_a_limit_inside_an_interval_is_no_change(
    before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    """A head at 0.960 and then at 0.949, around a limit of 0.95, has not recovered."""
    change = Change(
        Head("self", 0, 1),
        finding("uniform", Verdict.NO_DIFFERENCE, close=before),
        finding("positional", Verdict.NEEDED, close=after),
    )
    assert not change.clear and not change.recovered
    assert change.sentence.endswith("a close call, the intervals contain the limit.")


def with_losses(diagnosis: Diagnosis, sums: list[float]) -> Diagnosis:
    """Return a diagnosis with other losses: sums over ten tokens of each text."""
    losses = TextLosses(np.array(sums), np.full(len(sums), 10), "the same tokens")
    return replace(diagnosis, losses=losses, loss=losses.mean(seed=0))


def test_the_losses_come_first(pair: tuple[Model, Model]) -> None:
    base, _ = pair
    comparison = compare(base, base, TEXTS, ablate=False)
    assert comparison.loss_outcome is LossOutcome.SAME and not comparison.worse
    assert comparison.loss_difference == Interval(0, 0, 0, 0, 3)
    assert comparison.sentences[0] == comparison.loss_sentence
    assert "no difference of more than 0.01 nats per token" in comparison.loss_sentence
    assert comparison.loss_sentence == compare(base, base, TEXTS).loss_sentence


LOSSES = {
    # losses of the first and the second model on four texts, nats; outcome; words
    "a little on each text": (
        [10, 20, 30, 40], [11, 21.1, 31, 40.9], LossOutcome.WORSE, "is worse on these texts, by 0.1"
    ),
    "better": ([10, 20, 30, 40], [9, 19, 29, 39], LossOutcome.BETTER, "is better on these texts"),
    "better and worse": ([10, 20, 30, 40], [5, 30, 25, 45], LossOutcome.UNCLEAR, "is unclear"),
    "below the tolerance": (
        [10, 20, 30, 40], [10.01, 20.01, 30.01, 40.02], LossOutcome.SAME, "no difference of more"
    ),
    "one text": ([10], [90], LossOutcome.UNCLEAR, "one text cannot show"),
    "NaN after": (
        [10, 20, 30, 40], [math.nan] * 4, LossOutcome.WORSE, "NaN or infinite on all 4 texts in"
    ),
    "NaN on one text after": (
        [10, 20, 30, 40], [1, 2, 3, math.nan], LossOutcome.WORSE,
        "NaN or infinite on 1 of 4 texts (0.20 nats per token"
    ),
    "infinite after": ([10, 20], [10, math.inf], LossOutcome.WORSE, "is broken"),
    "NaN before": (
        [math.nan] * 4, [1, 2, 3, 4], LossOutcome.NOT_FINITE, "and the losses cannot be compared"
    ),
    "NaN on one text before": (
        [10, 20, math.nan, 40], [1, 2, 3, 4], LossOutcome.NOT_FINITE, "cannot be compared"
    ),
    "NaN in both": ([math.nan] * 2, [math.nan] * 2, LossOutcome.NOT_FINITE, "both models are"),
}  # fmt: skip


@pytest.mark.parametrize("case", LOSSES)
def test_the_second_model_is_worse_if_its_loss_is_higher_or_not_finite(
    pair: tuple[Model, Model], case: str
) -> None:
    before, after, outcome, words = LOSSES[case]
    same = compare(pair[0], pair[0], TEXTS, ablate=False)
    comparison = replace(
        same, first=with_losses(same.first, before), second=with_losses(same.second, after)
    )
    assert comparison.loss_outcome is outcome
    assert comparison.worse == (outcome in ("worse", "not finite"))
    assert words in comparison.loss_sentence and comparison.sentences[0].startswith("Loss: ")
    broken = not np.isfinite([*before, *after]).all()
    assert bool(comparison.broken) == broken
    for said in (comparison_summary(comparison), comparison.html()):
        assert ("NaN or infinite on" in said) == broken
    plain = json.loads(json.dumps(comparison.plain(), allow_nan=False))
    assert plain["worse"] == comparison.worse and plain["loss_outcome"] == outcome
    assert (plain["loss_difference"] is None) == broken
    assert plain["broken"] == list(comparison.broken)
    if not broken:
        apart = (np.array(after) - before).sum() / (10 * len(before))
        assert plain["loss_difference"]["mean"] == pytest.approx(apart)


def test_losses_of_other_tokens_are_compared_by_their_intervals(pair: tuple[Model, Model]) -> None:
    same = compare(pair[0], pair[0], TEXTS, ablate=False)
    second = with_losses(same.second, [990, 980, 1000])
    comparison = replace(same, second=second)  # the digest of its target tokens differs
    assert comparison.loss_difference is None and comparison.loss_outcome is LossOutcome.WORSE
    assert comparison.loss_sentence.endswith("is worse on these texts.")
    close = replace(same.first.loss, low=0.0, high=200.0)
    overlapping = replace(comparison, first=replace(same.first, loss=close))
    assert not overlapping.worse and "the intervals overlap" in overlapping.loss_sentence
    unknown = replace(
        same, first=replace(same.first, losses=TextLosses(), loss=TextLosses().mean(seed=0))
    )
    assert unknown.loss_outcome is LossOutcome.NOT_MEASURED
    assert unknown.loss_sentence == "" and not unknown.worse


def test_a_head_that_became_harmful_is_named_first(pair: tuple[Model, Model]) -> None:
    base, _ = pair
    comparison = compare(base, base, TEXTS, ablate=False)
    first, *others = comparison.first.findings

    def costing(mean: float, verdict: Verdict) -> Comparison:
        cost = {"zero": Interval(mean, mean - 0.02, mean + 0.02, 0.1, 60)}
        after = replace(first, ablation=cost, verdict=verdict)
        before = {"zero": Interval(0.04, 0.03, 0.05, 0.1, 60)}
        return replace(
            comparison,
            first=replace(
                comparison.first,
                findings=(replace(first, ablation=before, verdict=Verdict.NEEDED), *others),
            ),
            second=replace(comparison.second, findings=(after, *others)),
        )

    ruined = costing(-3.86, Verdict.BETTER_WITHOUT)
    assert [after.head for _, after in ruined.harmful] == [first.head]
    assert ruined.sentences[1:3] == (
        "1 head has become harmful: the loss falls without it.",
        f"Harmful now: {first.head.label} (+0.040 before, −3.86 now).",
    )
    assert list(ruined.table[ruined.table.harmful]["head"]) == [first.head.head]
    assert ruined.plain()["harmful"] == [first.head.label]
    assert "It has become harmful: the loss falls without it." in ruined.html()
    mild = costing(-0.05, Verdict.BETTER_WITHOUT)
    assert mild.sentences[1] == "No head has changed its label."
    assert mild.sentences[2].startswith("1 head has become harmful")
    assert costing(-3.86, Verdict.UNCLEAR).harmful == ()
    assert costing(0.02, Verdict.BETTER_WITHOUT).harmful == ()  # the intervals overlap


def test_changes_that_matter_most_come_first(pair: tuple[Model, Model]) -> None:
    base, _ = pair
    comparison = compare(base, base, TEXTS, ablate=False)

    def with_labels(diagnosis: Diagnosis, labels: list[Label]) -> Diagnosis:
        labelled = [
            replace(one, label=label, detail="", close=())
            for one, label in zip(diagnosis.findings, labels, strict=False)
        ]
        return replace(diagnosis, findings=tuple(labelled))

    before = with_labels(comparison.first, ["healthy", "healthy", "healthy"])
    after = with_labels(comparison.second, ["positional", "positional", "dead"])
    heads = [one.head for one in before.findings]
    (kind,) = comparison.divergence
    moved = np.zeros((*comparison.divergence[kind].mean.shape, 4))
    for head, far in zip(heads, (0.1, 0.2, 0.05), strict=True):
        moved[head.layer, head.head] = far
    changed = replace(comparison, first=before, second=after, divergence={kind: intervals(moved)})
    assert [one.head for one in changed.by_weight] == [heads[2], heads[1], heads[0]]
    assert changed.moved(heads[1]) == pytest.approx(0.2)
    assert changed.sentences[3].startswith(f"{heads[2].label} was “healthy” and is “dead”")


@pytest.mark.parametrize(
    ("changes", "close", "said"),
    [
        (0, 0, ["No head has changed its label."]),
        (
            0,
            1,
            ["No head has clearly changed its label.", "1 head has another label as a close call"],
        ),
        (1, 0, ["1 of 32 heads has another label.", "1 became degenerate, none", "change 0"]),
        (
            8,
            2,
            ["8 of 32 heads have", "1 became", "change 0", "And 2 more.", "2 more heads have"],
        ),
    ],
)
def test_the_headline_counts_the_changes(changes: int, close: int, said: list[str]) -> None:
    sentences = comparison_sentences(
        "", [f"change {n}" for n in range(changes)], close=close, heads=32, lost=1, recovered=0
    )
    for words in said:
        assert any(one.startswith(words) for one in sentences), (words, sentences)


@pytest.mark.parametrize(
    ("shift", "ending"),
    [
        (-2.1, "at most 0.69, and their entropy is 2.10 nats lower: they are sharper."),
        (0.5, "at most 0.69, and their entropy is 0.50 nats higher: they are more even."),
        (0.0, "at most 0.69."),
        (float("nan"), "at most 0.69."),
    ],
)
def test_the_headline_names_the_head_that_moved_furthest(shift: float, ending: str) -> None:
    said = comparison_sentences(
        "", [], close=0, heads=32, lost=0, recovered=0, moved=(Head("self", 2, 4), 0.307, shift)
    )
    assert said[1] == f"L2·H4 moved furthest: its rows differ by 0.31 nats of {ending}"


def test_the_headline_names_heads_that_became_saturated() -> None:
    sharp = Finding(Head("self", 2, 4), "healthy")
    said = comparison_sentences("", [], close=0, heads=32, lost=0, recovered=0, saturated=[sharp])
    assert said[1] == "Saturated now: L2·H4: one key gets nearly all of each row's weight."
