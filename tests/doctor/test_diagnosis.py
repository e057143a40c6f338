"""Diagnosis of small models: what it holds, writes, refuses and leaves unchanged."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import attnviz
from attnviz import Diagnosis
from attnviz.doctor import Text, Thresholds, diagnose
from attnviz.doctor.labels.rules import findings
from attnviz.doctor.measures.descriptions import names
from attnviz.doctor.pruning import pruning_file
from attnviz.errors import CaptureError, EmptyText, InputError, TextTooLong
from attnviz.findings import LABELS, Interval, Progress, Verdict
from attnviz.models import Model
from attnviz.types import Head
from tests.zoo import Pair

TEXTS = [
    "The cat sat on the mat, and the dog lay beside it.",
    "A small boat left the harbour before the sun came up.",
    "He lost his keys, so he waited at the door for an hour.",
    "Nobody in the village remembered who had built the bridge.",
    "She bought three apples, two pears and a loaf of bread.",
    "When the rain stopped, the children ran out into the garden.",
]


@pytest.fixture(scope="module")
def diagnosis(zoo: Callable[[str], Pair]) -> Diagnosis:
    torch.set_num_threads(1)
    return diagnose(zoo("gpt2").model, TEXTS, replacements=("zero", "mean", "uniform"))


def test_every_head_has_a_finding_with_evidence_and_words(diagnosis: Diagnosis) -> None:
    heads = [Head("self", layer, head) for layer in range(3) for head in range(4)]
    assert [one.head for one in diagnosis.findings] == heads
    for one in diagnosis.findings:
        assert one.label in LABELS and one.sentences and one.evidence
        assert list(one.ablation) == ["zero", "mean", "uniform"]
        assert diagnosis.finding(one.head) is one
        for change in one.ablation.values():
            assert change.low <= change.mean <= change.high and change.texts == len(TEXTS)
    with pytest.raises(CaptureError, match="L9·H0"):
        diagnosis.finding(Head("self", 9, 0))


def test_what_it_says_of_itself(diagnosis: Diagnosis) -> None:
    assert (diagnosis.texts.count, diagnosis.texts.windows) == (len(TEXTS), len(TEXTS))
    assert diagnosis.texts.tokens > 60 and len(diagnosis.texts.digest) == 64
    assert diagnosis.loss.low < diagnosis.loss.mean < diagnosis.loss.high
    assert -1.0 <= diagnosis.agreement["self"] <= 1.0
    assert set(diagnosis.versions) == {"attnviz", "torch", "transformers", "python"}
    assert diagnosis.seconds > 0 and diagnosis.seed == 0 and diagnosis.thresholds == Thresholds()
    # Six texts are enough to compare, and few enough for the warning.
    assert any(note.startswith("only ") and "too small" in note for note in diagnosis.notes)


def test_the_table_holds_every_number(diagnosis: Diagnosis) -> None:
    table = diagnosis.table
    assert len(table) == 12
    for name in (*names(), "ablation_zero", "ablation_mean", "ablation_uniform", "importance"):
        assert {name, f"{name}_low", f"{name}_high"} <= set(table.columns), name
    row = table[(table.layer == 1) & (table["head"] == 2)].iloc[0]
    one = diagnosis.finding(Head("self", 1, 2))
    assert row.label == one.label and row.ablation_zero == one.ablation["zero"].mean
    entropy = diagnosis.measures.tables["self"]["entropy"].at(1, 2)
    assert (row.entropy, row.entropy_low, row.entropy_high) == (
        entropy.mean,
        entropy.low,
        entropy.high,
    )
    assert len(set(table.columns)) == len(table.columns)


def test_relabelling_is_what_fresh_labels_would_be(diagnosis: Diagnosis) -> None:
    limits = Thresholds(uniform_entropy=0.8, positional_dependence=5.0, tolerance=0.001)
    other = diagnosis.relabelled(limits)
    again = findings(diagnosis.measures, limits, diagnosis.experiments, diagnosis.names)
    assert other.findings == again and other.thresholds == limits
    assert [one.name for one in other.findings] != [one.name for one in diagnosis.findings]
    back = other.relabelled(Thresholds())
    assert back.findings == diagnosis.findings
    assert back.table.equals(diagnosis.table)


def test_json_is_strict_and_whole(diagnosis: Diagnosis, tmp_path: Path) -> None:
    diagnosis.to_json(tmp_path / "diagnosis.json")

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    read = json.loads((tmp_path / "diagnosis.json").read_text("utf-8"), parse_constant=refuse)
    assert read["model"]["revision"] == diagnosis.model.revision
    assert read["texts"] == {
        "name": "texts of your own",
        "digest": diagnosis.texts.digest,
        "count": 6,
        "windows": 6,
        "tokens": diagnosis.texts.tokens,
    }
    assert Thresholds.from_dict(read["thresholds"]) == diagnosis.thresholds
    assert read["seed"] == 0 and read["versions"]["torch"] == torch.__version__
    assert len(read["heads"]) == 12
    for head, one in zip(read["heads"], diagnosis.findings, strict=True):
        assert head["label"] == one.label and head["sentences"] == list(one.sentences)
        assert head["numbers"]["next_token"]["mean"] is None
        assert Interval(**head["numbers"]["ablation_zero"]) == one.ablation["zero"]
    assert not any(text in (tmp_path / "diagnosis.json").read_text("utf-8") for text in TEXTS)


def test_csv_has_a_line_per_head(diagnosis: Diagnosis, tmp_path: Path) -> None:
    diagnosis.to_csv(tmp_path / "diagnosis.csv")
    with (tmp_path / "diagnosis.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [one.label for one in diagnosis.findings]


def test_equal_seeds_give_equal_numbers(gpt: Model, diagnosis: Diagnosis) -> None:
    again = diagnose(gpt, TEXTS, replacements=("zero", "mean", "uniform"))
    assert again.findings == diagnosis.findings


def test_progress_rises_and_ends(gpt: Model) -> None:
    reports: list[Progress] = []
    diagnose(gpt, TEXTS[:3], progress=reports.append)
    shares = [one.share for one in reports]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert len({one.stage for one in reports}) == 6
    assert len(reports) > 10


class Cancelled(Exception):
    """Raised by the progress callback."""


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.7, 0.95])
def test_a_cancelled_diagnosis_leaves_the_model_as_it_was(gpt: Model, share: float) -> None:
    before = attnviz.capture(gpt, TEXTS[0])

    def stop(now: Progress) -> None:
        if now.share >= share:
            raise Cancelled

    with pytest.raises(Cancelled):
        diagnose(gpt, TEXTS, progress=stop)
    after = attnviz.capture(gpt, TEXTS[0])
    assert np.array_equal(before["self"].weights(2, 1), after["self"].weights(2, 1))
    assert np.array_equal(before.losses, after.losses, equal_nan=True)
    hooks = [
        hook
        for module in gpt.network.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    ]
    # The library's own, by which it collects hidden states for each request in this context.
    assert {hook.__module__ for hook in hooks} <= {"transformers.utils.output_capturing"}
    assert all(one.grad is None for one in gpt.network.parameters())


def test_without_ablation_labels_stay_untested(gpt: Model, diagnosis: Diagnosis) -> None:
    seen = diagnose(gpt, TEXTS, ablate=False)
    assert any("no head was removed" in note for note in seen.notes)
    assert {one.verdict for one in seen.findings} == {Verdict.NOT_TESTED}
    assert not seen.importance and not seen.agreement and seen.loss == seen.losses.mean(seed=0)
    assert seen.loss.texts == len(seen.losses.sums) and not seen.broken
    assert "ablation_zero" not in seen.table
    assert len(seen.findings) == len(diagnosis.findings)
    for one in seen.findings:
        assert one.label != "sink" or one.detail == "not tested"


def test_a_model_without_a_trained_head_says_so(gpt: Model) -> None:
    seen = diagnose(replace(gpt, predicts=False), TEXTS)
    assert any("no trained language head" in note for note in seen.notes)
    assert {one.verdict for one in seen.findings} == {Verdict.NOT_TESTED}


def test_one_text_gives_no_interval_and_says_so(gpt: Model) -> None:
    seen = diagnose(gpt, TEXTS[:1])
    assert any("one text" in note for note in seen.notes)
    assert any("too few or too short" in note for note in seen.notes)
    for one in seen.findings:
        assert math.isnan(one.ablation["zero"].low) and not math.isnan(one.ablation["zero"].mean)
        assert one.verdict is Verdict.UNCLEAR
    assert json.dumps(seen.plain(), allow_nan=False)


def test_long_texts_are_read_in_windows_or_refused(gpt: Model) -> None:
    long = " ".join(TEXTS * 12)
    seen = diagnose(gpt, [*TEXTS[:2], long], ablate=False)
    assert seen.texts.count == 3 and seen.texts.windows > 3
    assert any("read in windows" in note for note in seen.notes)
    with pytest.raises(TextTooLong):
        diagnose(gpt, [long], long="refuse")


def test_what_is_refused(gpt: Model) -> None:
    with pytest.raises(EmptyText):
        diagnose(gpt, [])
    with pytest.raises(EmptyText):
        diagnose(gpt, ["", "  "])
    with pytest.raises(InputError, match="replaced by zero, mean, uniform, not 'noise'"):
        diagnose(gpt, TEXTS, replacements=("noise",))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="names no file"):
        diagnose(gpt, "nowhere/to/be/found.txt")


def test_models_that_read_no_text_are_refused(zoo: Callable[[str], Pair]) -> None:
    with pytest.raises(InputError, match="pixel_values"):
        diagnose(zoo("vit").model)


@pytest.mark.parametrize("name", ["bert", "t5", "albert", "llama", "gemma2", "gpt_oss", "jamba"])
def test_other_architectures(name: str, zoo: Callable[[str], Pair]) -> None:
    model = zoo(name).model
    seen = diagnose(model, TEXTS[:4])
    assert len(seen.findings) == sum(layers * heads for layers, heads in model.info.heads.values())
    assert set(seen.agreement) == set(model.info.heads)
    for kind in model.info.heads:
        tables = seen.measures.tables[kind]
        for measured in ("lowest_entropy", "rest", "output_share", "content_dependence"):
            assert not np.isnan(tables[measured].mean).any(), (kind, measured)
        assert set(tables) == set(names())
    shared = [note for note in seen.notes if "several layers have the same weights" in note]
    assert len(shared) == (name == "albert")
    assert pruning_file(seen)["notes"] == list(seen.notes)
    if name == "bert":
        assert not np.isnan(seen.measures.tables["self"]["pair_duplicate"].mean).any()
        assert seen.names["self"].first == model.tokenizer.cls_token
        assert seen.names["self"].separator == model.tokenizer.sep_token
    if model.info.family == "decoder":
        assert not np.isnan(seen.measures.tables["self"]["repeat_induction"].mean).any()


@pytest.mark.parametrize("name", ["gpt2", "bert", "t5"])
@pytest.mark.parametrize("texts", [["a"], ["a", "the"], ["a", TEXTS[0]]])
def test_tiny_texts(name: str, texts: list[str], zoo: Callable[[str], Pair]) -> None:
    seen = diagnose(zoo(name).model, texts)
    assert all(one.sentences for one in seen.findings)
    assert json.dumps(seen.plain(), allow_nan=False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["gpt2", "bert", "t5"])
def test_a_gpu_finds_the_same(name: str, zoo: Callable[[str], Pair]) -> None:
    pair = zoo(name)
    there = attnviz.load(str(pair.folder), device="cuda", dtype="float32")
    targets = pair.model.info.family == "encoder-decoder"
    texts = [Text(one, one if targets else None) for one in TEXTS]
    here, on_gpu = (diagnose(model, texts).table for model in (pair.model, there))
    assert list(here.label) == list(on_gpu.label)
    for column in here.select_dtypes("number"):
        assert np.allclose(here[column], on_gpu[column], atol=2e-3, equal_nan=True), column


@pytest.fixture
def classroom(request: pytest.FixtureRequest) -> Iterator[Diagnosis]:
    yield diagnose(attnviz.load(request.param), ablate=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("classroom", "known"),
    [
        (
            "gpt-classroom",
            {
                ("self", 0, 7): "specialised: previous token",
                ("self", 1, 0): "specialised: induction",
                ("self", 1, 3): "specialised: induction",
                ("self", 1, 5): "specialised: induction",
            },
        ),
        (
            "bert-classroom",
            {
                ("self", 0, 1): "specialised: duplicate",
                ("self", 1, 4): "specialised: previous token",
                ("self", 1, 7): "specialised: next token",
                ("self", 0, 7): "specialised: next token",
                ("self", 0, 0): "sink: not tested",
            },
        ),
        (
            "t5-classroom",
            {
                ("cross", 2, 4): "specialised: alignment",
                ("cross", 2, 5): "specialised: alignment",
                ("cross", 2, 2): "specialised: alignment",
            },
        ),
    ],
    indirect=["classroom"],
)
def test_known_heads_are_called_what_they_are(
    classroom: Diagnosis, known: dict[tuple, str]
) -> None:
    called = {head: classroom.finding(Head(*head)).name for head in known}
    assert called == known
