"""NaN and infinity are named, and not proved, measured or described as numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import attnviz
from attnviz import Model, metrics, words
from attnviz.attention.kernel.attend import attend
from attnviz.attention.kernel.row_statistics import RowObserver
from attnviz.attention.kernel.score_terms import ScoreTerms
from attnviz.attention.masks.visibility import Visibility
from attnviz.captures.forward_pass import capture_ids
from attnviz.captures.origins import broken_weights, origin_of
from attnviz.errors import ModelNotSupported
from attnviz.experiments.repetition import repeat_random
from attnviz.finite import exceeds, largest_difference
from attnviz.types import Head
from tests.broken import with_number
from tests.zoo import Pair, random_texts

Zoo = Callable[[str], Pair]
TEXT = "The cat sat on the mat. The cat sat on the hat."
ALL = slice(None)


@dataclass(frozen=True)
class Fault:
    """Number written into a weight, and the first head that it breaks; None for no head."""

    model: str
    weight: str
    value: float
    place: tuple[int | slice, ...]
    head: str | None
    sound: tuple[str, ...] = ()


FAULTS = {
    "one query weight": Fault(
        "gpt2", "h.1.attn.c_attn.weight", math.nan, (3, 9), "L1·H1", ("L0·H0", "L1·H0", "L1·H2")
    ),
    "one key weight, infinite": Fault(
        "gpt2", "h.1.attn.c_attn.weight", math.inf, (3, 32 + 25), "L1·H3", ("L0·H3", "L1·H2")
    ),
    "one value weight": Fault(
        "gpt2", "h.1.attn.c_attn.weight", math.nan, (3, 64 + 17), "L1·H2", ("L1·H0", "L1·H3")
    ),
    "a whole layer": Fault(
        "gpt2", "h.1.attn.c_attn.weight", math.nan, (ALL, ALL), "L1·H0", ("L0·H0", "L0·H3")
    ),
    "a bias of -inf": Fault("gpt2", "h.2.attn.c_attn.bias", -math.inf, (0,), "L2·H0", ("L2·H1",)),
    "the MLP of layer 0": Fault(
        "gpt2", "h.0.mlp.c_proj.weight", math.nan, (0, 0), "L1·H0", ("L0·H0", "L0·H3")
    ),
    "the MLP of the last layer": Fault(
        "gpt2", "h.2.mlp.c_proj.weight", math.nan, (0, 0), None, ("L0·H0", "L2·H3")
    ),
    "the embedding": Fault("gpt2", "wte.weight", math.nan, (ALL, 0), "L0·H0"),
    "the position bias": Fault(
        "t5", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", math.nan,
        (0, 2), "encoder L0·H2", ("encoder L0·H1",),
    ),
    "a cross-attention": Fault(
        "t5", "decoder.block.1.layer.1.EncDecAttention.k.weight", math.inf, (7, 3),
        "cross L1·H1", ("encoder L0·H0", "decoder L1·H1", "cross L0·H1", "cross L1·H0"),
    ),
    "an encoder's norm": Fault(
        "bert", "layer.0.output.LayerNorm.weight", math.nan, (5,), "L1·H0", ("L0·H0",)
    ),
    "a shared value head": Fault(
        "llama", "layers.1.self_attn.v_proj.weight", math.nan, (9, 0), "L1·H2", ("L1·H1",)
    ),
}  # fmt: skip


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> Fault:
    return FAULTS[request.param]


@pytest.fixture
def model(fault: Fault, zoo: Zoo, tmp_path: Path) -> Model:
    folder = with_number(
        zoo(fault.model).folder, tmp_path / "broken", fault.weight, fault.value, fault.place
    )
    return attnviz.load(str(folder))


def test_a_broken_model_is_loaded_and_not_proved(model: Model, fault: Fault) -> None:
    capture = capture_ids(model, random_texts(model, (12,)))[0]
    proof = attnviz.verify(capture)
    assert not proof.holds
    assert proof.broken == (proof.not_finite,)  # what is finite agrees with the library
    assert "NaN" in proof.not_finite and fault.weight in proof.not_finite
    assert (fault.head or "all heads is finite") in proof.not_finite


def test_broken_heads_have_no_numbers_and_sound_ones_keep_theirs(
    model: Model, fault: Fault, zoo: Zoo
) -> None:
    text = random_texts(model, (12,))
    for keep in ("qkv", "statistics"):
        capture = capture_ids(model, text, keep=keep)[0]  # type: ignore[arg-type]
        whole = capture_ids(zoo(fault.model).model, text, keep=keep)[0]  # type: ignore[arg-type]
        broken = {}
        for kind, stack in capture.stacks.items():
            for layer, head in np.ndindex(stack.shape[:2]):
                label = Head(kind, layer, head).label
                broken[label] = bool(stack.not_finite[layer, head])
                said = words.headline(stack, layer, head)
                assert ("NaN" in said) == broken[label]
                for name in metrics.names():
                    value = metrics.per_head(name, stack)[layer, head]
                    if broken[label]:
                        assert np.isnan(value), (name, label)
                    elif label in fault.sound and not label.startswith("decoder"):
                        expected = metrics.per_head(name, whole[kind])[layer, head]
                        np.testing.assert_allclose(value, expected, atol=1e-5)
        assert fault.head is None or broken[fault.head]
        assert not any(broken[label] for label in fault.sound)
        if fault.head is None:
            assert not any(broken.values())
        # No row of the table holds a finite metric of a broken head.
        table = attnviz.summarize(capture)
        heads = [stack.not_finite.ravel() for stack in capture.stacks.values()]
        assert table.loc[np.concatenate(heads), list(metrics.names())].isna().all(axis=None)


def test_predictions_of_broken_logits_are_none(model: Model, fault: Fault) -> None:
    capture = capture_ids(model, random_texts(model, (12,)))[0]
    for one in capture.predictions:
        assert len(one.labels) == len(one.probabilities)
        assert np.isfinite(one.probabilities).all()
    assert not capture.predictions[-1].labels
    assert np.isnan(capture.losses[:-1]).all()


def test_repetition_of_a_broken_model_gives_no_scores(zoo: Zoo, tmp_path: Path) -> None:
    folder = with_number(
        zoo("gpt2").folder, tmp_path / "b", "h.1.attn.c_attn.weight", math.nan, (3, 9)
    )
    repetition = repeat_random(attnviz.load(str(folder)), period=8, sequences=2)
    assert math.isnan(repetition.gain)
    assert (
        np.isnan(repetition.scores["induction"][1, 1])
        and np.isnan(repetition.scores["induction"][2]).all()
    )
    assert np.isfinite(repetition.scores["induction"][0]).all()


def test_an_unused_broken_weight_is_still_named(zoo: Zoo, tmp_path: Path) -> None:
    folder = with_number(zoo("t5").folder, tmp_path / "b", "shared.weight", math.nan, (70, ALL))
    model = attnviz.load(str(folder))
    capture = attnviz.capture(model, "The cat", target="the")
    assert 70 not in (*capture.inputs.ids, *(capture.inputs.target or ()))
    proof = attnviz.verify(capture)
    assert not proof.holds and "shared.weight" in proof.not_finite


def test_float16_overflow_is_named_although_all_weights_are_finite(
    zoo: Zoo, tmp_path: Path
) -> None:
    # Fits into float16, and so do the hidden states; the product of two such numbers does not.
    folder = with_number(
        zoo("gpt2").folder, tmp_path / "b", "h.1.attn.c_attn.bias", 3e4, (slice(0, 64),)
    )
    model = attnviz.load(str(folder), dtype="float16")
    assert broken_weights(model.network) == ()
    capture = capture_ids(model, random_texts(model, (9,)))[0]
    proof = attnviz.verify(capture)
    assert not proof.holds
    assert "all weights are finite" in proof.not_finite and "float32" in proof.not_finite
    assert "h.1" in proof.not_finite and "L1·H0" in proof.not_finite
    whole = attnviz.load(str(folder), dtype="float32")
    assert not attnviz.verify(capture_ids(whole, random_texts(whole, (9,)))[0]).not_finite


def test_nan_that_only_attnviz_computes_is_held_against_it(zoo: Zoo) -> None:
    model = zoo("gpt2").model
    capture = capture_ids(model, random_texts(model, (9,)))[0]
    stack = capture["self"]
    layers = list(stack.layers)
    vectors = layers[1].vectors
    assert vectors is not None
    query = vectors.query.clone()
    query[2, 4] = math.nan
    layers[1] = replace(layers[1], vectors=replace(vectors, query=query))
    false = replace(capture, stacks={"self": replace(stack, layers=tuple(layers))})
    proof = attnviz.verify(false)
    assert proof.weights == math.inf and proof.worst.label == "L1·H2"
    assert any("L1·H2" in sentence for sentence in proof.broken)


def test_a_model_that_is_broken_and_wrong_is_refused(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = with_number(
        zoo("gpt2").folder, tmp_path / "b", "h.2.attn.c_attn.weight", math.nan, (3, 9)
    )
    monkeypatch.setattr(
        "attnviz.attention.interface.attend",
        lambda query, *others, **options: attend(query * 1.5, *others, **options),
    )
    with pytest.raises(ModelNotSupported, match=r"L[01]·H"):
        attnviz.load(str(folder))


def test_finite_models_have_no_origin(zoo: Zoo) -> None:
    for name in ("gpt2", "bert", "t5", "gemma2"):
        model = zoo(name).model
        capture = capture_ids(model, random_texts(model, (9,)))[0]
        assert origin_of(model, capture) is None
        assert attnviz.verify(capture).not_finite == ""
        assert not any(stack.not_finite.any() for stack in capture.stacks.values())


def test_a_row_without_visible_keys_is_no_fault() -> None:
    query, key, value = torch.randn(3, 1, 2, 6, 4).unbind(0)
    rule = Visibility.causal(1, 6, 6, -2)  # queries 0 and 1 see nothing
    observer = RowObserver(1, 2, 6, rule, None, query.device)
    output = attend(query, key, value, rule, ScoreTerms(0.5), observe=observer)
    observer.finish()
    assert output.isfinite().all() and observer.rows["entropy"].isfinite().all()
    # Scores of -inf in a row that sees keys are a fault all the same.
    observer = RowObserver(1, 2, 6, rule, None, query.device)
    key[:, 1, 0] = -torch.inf
    attend(query.abs(), key, value, rule, ScoreTerms(0.5), observe=observer)
    observer.finish()
    broken = ~observer.rows["entropy"].isfinite()[0]
    assert not broken[0].any() and broken[1].tolist() == [False, False, True, False, False, False]


def test_sums_of_long_texts_stay_within_float16() -> None:
    # 4,000 equal weights of values of 40: the sum before the division would be 160,000.
    keys = 4000
    query, key = torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, keys, 4)
    value = torch.full((1, 1, keys, 4), 40.0)
    rule = Visibility.full(1, 1, keys)
    output = attend(*(one.half() for one in (query, key, value)), rule, ScoreTerms(1.0))
    assert (output - 40.0).abs().max() < 40 * 2**-9  # 1/4,000 is rounded to 11 bits


@pytest.mark.parametrize(
    ("value", "above"), [(0.5, False), (2.0, True), (math.nan, True), (math.inf, True)]
)
def test_a_bound_is_exceeded_by_what_is_not_a_number(value: float, above: bool) -> None:
    assert exceeds(value, 1.0) == above


def test_differences_are_of_finite_numbers() -> None:
    nan, inf = math.nan, math.inf
    assert largest_difference(np.array([1.0, nan]), np.array([3.0, nan])) == 2.0
    assert largest_difference(np.array([1.0, nan]), np.array([1.0, 2.0])) == inf
    assert largest_difference(np.array([1.0, inf]), np.array([1.0, -inf])) == 0.0
    assert math.isnan(largest_difference(np.array([1.0]), np.array([nan])))
