"""Diagnosis of a model with NaN or infinity: a separate label, and where it begins."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import attnviz
from attnviz import cli
from attnviz.doctor import Diagnosis, compare
from attnviz.doctor.labels.thresholds import THRESHOLDS, Thresholds
from attnviz.experiments.text_sets import Text
from attnviz.findings import Verdict
from tests.broken import with_number
from tests.zoo import Pair

Zoo = Callable[[str], Pair]
ALL = slice(None)
TEXTS = [
    "The cat sat on the mat. The cat sat on the hat.",
    "When Mary and John went to the store, John gave a drink to Mary.",
    "A model reads one token after another; attention tells it where to look.",
]
PAIRS = [Text(text, text) for text in TEXTS]

FAULTS: dict[str, tuple[str, str, float, tuple[int | slice, ...], set[str]]] = {
    # model, weight, value, place, labels of the heads that are broken (prefixes)
    "a query": (
        "gpt2", "h.1.attn.c_attn.weight", math.nan, (3, 9), {"L1·H1", "L2"}
    ),
    "an output projection": (
        "gpt2", "h.1.attn.c_proj.weight", math.nan, (9, 0), {"L1·H1", "L2"}
    ),
    "the last MLP": ("gpt2", "h.2.mlp.c_proj.weight", math.nan, (0, 0), set()),
    "the embedding": ("gpt2", "wte.weight", math.inf, (ALL, 0), {"L0", "L1", "L2"}),
    "a key of BERT": (
        "bert", "layer.1.attention.self.key.weight", math.inf, (9, 0), {"L1·H1", "L2"}
    ),
    "a norm of Gemma 2": (
        "gemma2", "layers.0.post_attention_layernorm.weight", math.nan, (0,),
        {"L0", "L1", "L2", "L3"},
    ),
    "T5's cross-attention": (
        "t5", "decoder.block.1.layer.1.EncDecAttention.v.weight", math.nan, (7, 3),
        {"cross L1·H1", "decoder L2", "cross L2"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=FAULTS)
def case(
    request: pytest.FixtureRequest, zoo: Zoo, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Diagnosis, set[str]]:
    name, weight, value, place, broken = FAULTS[request.param]
    folder = tmp_path_factory.mktemp("broken") / "model"
    with_number(zoo(name).folder, folder, weight, value, place)
    texts = PAIRS if name == "t5" else TEXTS
    return weight, folder, attnviz.diagnose(attnviz.load(str(folder)), texts), broken


def test_broken_heads_have_a_label_of_their_own(
    case: tuple[str, Path, Diagnosis, set[str]],
) -> None:
    _, _, diagnosis, broken = case
    for one in diagnosis.findings:
        expected = any(one.head.label.startswith(start) for start in broken)
        assert (one.label == "non-finite") == expected, one.head.label
        if expected:
            assert one.degenerate and one.verdict is Verdict.NOT_TESTED and not one.also
            assert "NaN or infinity on 3 of 3 texts" in one.sentences[0]


def test_no_threshold_moves_the_label(case: tuple[str, Path, Diagnosis, set[str]]) -> None:
    _, _, diagnosis, _ = case
    before = [one.label == "non-finite" for one in diagnosis.findings]
    for end in ("lowest", "highest"):
        limits = Thresholds(**{name: getattr(one, end) for name, one in THRESHOLDS.items()})
        after = [one.label == "non-finite" for one in diagnosis.relabelled(limits).findings]
        assert after == before


def test_the_weight_is_named_and_files_hold_no_nan(
    case: tuple[str, Path, Diagnosis, set[str]], tmp_path: Path
) -> None:
    weight, _, diagnosis, broken = case
    assert weight in diagnosis.not_finite and diagnosis.notes[0] == diagnosis.not_finite
    if broken and "norm" not in weight and "c_proj" not in weight:
        named = diagnosis.not_finite.rpartition("head that is not finite is ")[2]
        assert any(named.startswith(one) for one in broken)
    diagnosis.to_json(tmp_path / "d.json")
    written = json.loads((tmp_path / "d.json").read_text("utf-8"))
    assert written["not_finite"] == diagnosis.not_finite
    assert "NaN" not in json.dumps(
        {**written, "notes": [], "not_finite": "", "loss_not_finite": "", "measures": {}}
    ) or (broken)
    assert written["loss"]["mean"] is None
    for head, one in zip(written["heads"], diagnosis.findings, strict=True):
        if one.label == "non-finite":
            numbers = {name: value["mean"] for name, value in head["numbers"].items()}
            assert numbers.pop("not_finite") == 1.0
            assert numbers["output_share"] is None and numbers["entropy"] is None
    assert "non-finite" in diagnosis.html() or not broken
    assert weight in diagnosis.html()
    diagnosis.to_csv(tmp_path / "d.csv")
    assert "inf" not in diagnosis.csv().replace("infinity", "").replace("infinite", "")


def test_the_command_names_it_and_does_not_succeed(
    case: tuple[str, Path, Diagnosis, set[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weight, folder, _, broken = case
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(f"{one}\t{one}" if "t5" in str(folder) else one for one in TEXTS))
    options = ["diagnose", str(folder), "--texts", str(texts), "--no-ablation"]
    assert cli.main(options) == 1
    said = capsys.readouterr()
    assert weight in said.err
    assert cli.main([*options, "--fail-on", "non-finite"]) == 1
    assert ("--fail-on non-finite found" in capsys.readouterr().err) == bool(broken)


def test_a_capture_on_the_command_line_names_it(
    case: tuple[str, Path, Diagnosis, set[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    weight, folder, _, _ = case
    target = ["--target", "the cat"] if "EncDec" in weight else []
    assert cli.main(["capture", str(folder), TEXTS[0], *target]) == 1
    said = capsys.readouterr()
    assert weight in said.err and "nan" not in said.out.lower()


def test_only_some_texts_overflow(zoo: Zoo, tmp_path: Path) -> None:
    # One token's embedding is NaN: texts without it are measured as ever.
    model = zoo("gpt2").model
    token = model.tokenizer("When Mary")["input_ids"][-1]
    folder = with_number(zoo("gpt2").folder, tmp_path / "b", "wte.weight", math.nan, (token, ALL))
    broken = attnviz.load(str(folder))
    diagnosis = attnviz.diagnose(broken, TEXTS, ablate=False)
    assert all(one.label == "non-finite" for one in diagnosis.findings)
    assert "on 1 of 3 texts" in diagnosis.findings[0].sentences[0]
    whole = attnviz.diagnose(model, [TEXTS[0], TEXTS[2]], ablate=False)
    for name in ("entropy", "output_share", "sink_value_share", "rest"):
        np.testing.assert_allclose(
            diagnosis.measures.tables["self"][name].mean,
            whole.measures.tables["self"][name].mean,
            rtol=1e-4,
        )


def test_two_models_one_of_them_broken(zoo: Zoo, tmp_path: Path) -> None:
    folder = with_number(
        zoo("gpt2").folder, tmp_path / "b", "h.1.attn.c_attn.weight", math.nan, (3, 9)
    )
    comparison = compare(zoo("gpt2").model, attnviz.load(str(folder)), TEXTS, ablate=False)
    changed = {change.head.label: change.after.name for change in comparison.changes}
    assert changed["L1·H1"] == changed["L2·H0"] == "non-finite"
    assert np.isnan(comparison.divergence["self"].mean[2]).all()
    assert comparison.divergence["self"].mean[0].max() < 1e-6


@pytest.fixture(scope="module")
def folders(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a sound GPT-2, one with a NaN behind all heads, one with infinite logits."""
    folder = zoo("gpt2").folder
    place = tmp_path_factory.mktemp("models")
    return {
        "sound": folder,
        "NaN": with_number(folder, place / "nan", "h.2.mlp.c_proj.weight", math.nan, (0, 0)),
        "infinite": with_number(folder, place / "infinite", "ln_f.weight", 3e38, (ALL,)),
    }


@pytest.mark.parametrize(
    ("first", "second"), [("sound", "NaN"), ("NaN", "sound"), ("infinite", "NaN"),
                          ("sound", "infinite"), ("infinite", "sound")],
)  # fmt: skip
@pytest.mark.parametrize("removed", [True, False])
def test_a_comparison_with_a_broken_loss_fails(
    folders: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    first: str,
    second: str,
    removed: bool,
) -> None:
    texts, page, data = tmp_path / "texts.txt", tmp_path / "c.html", tmp_path / "c.json"
    texts.write_text("\n".join(TEXTS))
    options = ["compare", str(folders[first]), str(folders[second]), "--texts", str(texts)]
    options += ["--out", str(page), "--json", str(data), *([] if removed else ["--no-ablation"])]
    assert cli.main([*options, "--fail-on", "worse"]) == 1
    said = capsys.readouterr()
    assert "--fail-on worse found: worse" in said.err
    for name in {first, second} - {"sound"}:
        sentence = f"{folders[name]}: the loss is NaN or infinite on all 3 texts"
        for shown in (said.err, said.out, page.read_text("utf-8")):
            assert sentence in shown
    written = json.loads(data.read_text("utf-8"))
    assert written["worse"] and written["loss_difference"] is None
    assert cli.main(options) == 1  # as a diagnosis of a broken model fails, without --fail-on


def test_a_diagnosis_whose_loss_alone_is_infinite_fails(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(TEXTS))
    options = ["diagnose", str(folders["infinite"]), "--texts", str(texts)]
    assert cli.main([*options, "--out", str(tmp_path / "d.html")]) == 1
    said = capsys.readouterr()
    for shown in (said.out, said.err, (tmp_path / "d.html").read_text("utf-8")):
        assert "he loss is NaN or infinite on all 3 texts" in shown and "ln_f" in shown
    assert "removing one head" not in said.err  # no removal could show anything
    assert cli.main(["diagnose", str(folders["sound"]), "--texts", str(texts)]) == 0


@pytest.mark.parametrize(
    "words", ["compare gpt-classroom french-classroom --no-ablation --fail-on harmful",
              "diagnose gpt-classroom --no-ablation --fail-on dead,useless",
              "diagnose gpt-classroom --no-ablation --fail-on better-without"],
)  # fmt: skip
def test_what_only_removals_show_is_refused_without_them(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words.split()) == 2
    assert "leave out --no-ablation" in capsys.readouterr().err


def test_a_finite_model_has_no_such_label(zoo: Zoo) -> None:
    diagnosis = attnviz.diagnose(zoo("gemma2").model, TEXTS, ablate=False)
    assert diagnosis.not_finite == ""
    assert all(one.label != "non-finite" for one in diagnosis.findings)
    assert all("NaN" not in note for note in diagnosis.notes)
