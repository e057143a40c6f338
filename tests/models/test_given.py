"""Inputs as tokenizers return them, and what is checked before the library is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import attnviz
from attnviz import Model
from attnviz.captures.forward_pass import Encoded, capture_ids
from attnviz.errors import AttnvizError, EmptyText, InputError, TextTooLong
from tests.models.small import saved
from tests.zoo import Pair, all_weights

Zoo = Callable[[str], Pair]
TEXT, PAIR = "The cat sat on the mat.", "A dog ran."


@pytest.mark.parametrize("kind", ["pt", "np", None])
def test_what_a_tokenizer_returns(bert: Model, kind: str | None) -> None:
    given = bert.tokenizer(
        TEXT,
        PAIR,
        return_tensors=kind,
        return_special_tokens_mask=True,
        return_offsets_mapping=True,
        return_length=True,
    )
    ours = attnviz.capture_inputs(bert, given)
    expected = attnviz.capture(bert, TEXT, pair=PAIR)
    assert ours.inputs == expected.inputs
    np.testing.assert_array_equal(all_weights(ours["self"]), all_weights(expected["self"]))


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side(bert: Model, side: str) -> None:
    given = bert.tokenizer(
        TEXT, padding="max_length", max_length=30, padding_side=side, return_tensors="pt"
    )
    assert attnviz.capture_inputs(bert, given).inputs.ids == tuple(bert.tokenizer(TEXT).input_ids)


def test_segments_that_a_model_does_not_read_are_shown(zoo: Zoo) -> None:
    """RoBERTa's tokenizer makes none, and the model computes as without them."""
    model = zoo("roberta").model
    pair = attnviz.capture(model, TEXT, pair=PAIR)
    encoding = model.tokenizer(TEXT, PAIR)
    segments = pair["self"].query_tokens.segments
    assert segments is not None
    sentences = encoding.sequence_ids(0)
    assert [one for one, two in zip(segments, sentences, strict=True) if two is not None] == [
        two for two in sentences if two is not None
    ]
    assert segments[0] == 0 and segments[-1] == 1 and set(np.diff(segments)) == {0, 1}


def test_a_pair_without_segments_computes_what_the_library_does(tmp_path: Path) -> None:
    """With two segments in the configuration, and a tokenizer that makes none."""
    name = saved(tmp_path, "RobertaForMaskedLM", "Roberta", type_vocab_size=2)
    model = attnviz.load(name)
    model.tokenizer.model_input_names = ["input_ids", "attention_mask"]
    pair = attnviz.capture(model, TEXT, pair=PAIR)
    plain = capture_ids(model, [Encoded(pair.inputs.ids)])[0]
    assert pair["self"].query_tokens.segments is not None
    np.testing.assert_array_equal(all_weights(pair["self"]), all_weights(plain["self"]))


def test_labels_stand_for_the_target(t5: Model) -> None:
    given = t5.tokenizer(TEXT, text_target=PAIR, return_tensors="pt")
    ours = attnviz.capture_inputs(t5, given)
    assert ours.inputs == attnviz.capture(t5, TEXT, target=PAIR).inputs
    assert not ours.generated


REFUSED: dict[str, tuple[Any, type[AttnvizError], str]] = {
    "beyond the embedding": ({"input_ids": [[5, 9999]]}, InputError, "go from 5 to 9999"),
    "negative": ({"input_ids": [[5, -1]]}, InputError, "go from -1 to 5"),
    "none": ({"input_ids": torch.zeros(1, 0, dtype=torch.long)}, InputError, "without any token"),
    "padding alone": (
        {"input_ids": [[5, 6]], "attention_mask": [[0, 0]]},
        InputError,
        "without any token",
    ),
    "floats": ({"input_ids": [[5.5, 6.0]]}, InputError, "should hold whole numbers"),
    "two texts": ({"input_ids": [[5, 6], [7, 8]]}, InputError, "one input at a time"),
    "three axes": ({"input_ids": [[[5, 6]]]}, InputError, "one input at a time"),
    "ragged": ({"input_ids": [[5, 6], [7]]}, InputError, "should be a tensor"),
    "words": ({"input_ids": ["a", "b"]}, InputError, "should be a tensor"),
    "too long": ({"input_ids": [[5] * 161]}, TextTooLong, "has 161 tokens"),
    "a mask of another length": (
        {"input_ids": [[5, 6]], "attention_mask": [[1]]},
        InputError,
        "one flag for each",
    ),
    "a mask with a hole": (
        {"input_ids": [[5, 6, 7]], "attention_mask": [[1, 0, 1]]},
        InputError,
        "padding before or behind",
    ),
    "an unknown segment": (
        {"input_ids": [[5, 6]], "token_type_ids": [[0, 7]]},
        InputError,
        "knows those from 0 to 1",
    ),
    "too few segments": (
        {"input_ids": [[5, 6]], "token_type_ids": [[0]]},
        InputError,
        "give one for each id",
    ),
    "no mapping": ([[5, 6]], InputError, "should map argument names"),
    "an unknown argument": ({"input_ids": [[5]], "weather": [[1]]}, InputError, "does not read"),
}


@pytest.mark.parametrize(("given", "kind", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_before_the_library_is_called(
    bert: Model, given: Any, kind: type[AttnvizError], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def called(*unused: Any, **options: Any) -> None:
        raise AssertionError("the library was called")

    monkeypatch.setattr(torch.nn.Module, "__call__", called)
    with pytest.raises(kind, match=said):
        attnviz.capture_inputs(bert, given)


def test_nothing_is_generated_for_ids_beyond_the_embedding(tmp_path: Path) -> None:
    model = attnviz.load(saved(tmp_path, "T5ForConditionalGeneration", "T5"))
    model.tokenizer.add_tokens(["<extra>"])
    with pytest.raises(InputError, match="is this the tokenizer it was trained with"):
        attnviz.capture(model, "The cat <extra> sat.")
    with pytest.raises(InputError, match="is this the tokenizer it was trained with"):
        attnviz.capture(model, TEXT, target="<extra>")


@pytest.mark.parametrize("kind", ["GPT2LMHeadModel", "BertForMaskedLM"])
def test_padding_uses_an_id_that_exists(kind: str, tmp_path: Path) -> None:
    model = attnviz.load(saved(tmp_path, kind, kind[:4]))
    alone = attnviz.capture(model, "The cat", keep="statistics")["self"].statistic("entropy")
    model.tokenizer.add_special_tokens({"pad_token": "[new]"})
    assert model.tokenizer.pad_token_id >= model.network.config.vocab_size
    together = next(iter(attnviz.capture_many(model, ["The cat", TEXT])))["self"]
    # Padding changes the order of sums: float32 rounding of entropies of a few nats.
    np.testing.assert_allclose(together.statistic("entropy"), alone, atol=1e-5)


def test_a_begin_token_that_the_text_has(gpt: Model) -> None:
    """The vocabulary's tokenizer adds none: attnviz would, and does not twice."""
    begin = gpt.tokenizer.bos_token
    capture = attnviz.capture(gpt, f"{begin}{TEXT}")
    assert capture.inputs.ids == attnviz.capture(gpt, TEXT).inputs.ids
    assert capture.notes == (
        f"the text already begins with {begin}, so this token was not added again",
    )
    assert attnviz.capture(gpt, TEXT).notes == ()
    assert attnviz.capture(gpt, f"{begin}{begin}{TEXT}").inputs.ids[:2] == (1, 1)
    assert attnviz.capture(gpt, f"{begin}{TEXT}", begin=False).inputs.ids[0] != 1


def test_a_begin_token_that_the_text_has_and_the_tokenizer_adds(bert: Model) -> None:
    capture = attnviz.capture(bert, f"[CLS] {TEXT}", pair=PAIR)
    assert capture.inputs == attnviz.capture(bert, TEXT, pair=PAIR).inputs
    assert len(capture.notes) == 1


def test_an_empty_text(bert: Model) -> None:
    with pytest.raises(EmptyText):
        attnviz.capture(bert, " \n")
