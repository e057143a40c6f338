"""Losses, predictions and generated targets equal the library's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from attnviz import Model, capture
from attnviz.captures.forward_pass import Encoded, capture_ids
from attnviz.models import labels
from tests.zoo import Pair, inputs_of, random_texts

TEXT = "The cat sat on the mat."


def logits_of(pair: Pair, text: Encoded) -> torch.Tensor:
    with torch.inference_mode():
        return pair.eager(**inputs_of(pair.model, [text])).logits[0]


@pytest.mark.parametrize("name", ["gpt2", "bert", "t5", "llama", "bart"])
def test_predictions_are_the_likeliest_tokens(zoo: Callable[[str], Pair], name: str) -> None:
    pair = zoo(name)
    (text,) = random_texts(pair.model, (30,))
    one = capture_ids(pair.model, [text])[0]
    best = logits_of(pair, text).softmax(-1).topk(5)
    assert len(one.predictions) == len(best.values)
    for row, prediction in enumerate(one.predictions):
        np.testing.assert_allclose(prediction.probabilities, best.values[row], atol=1e-4)
        assert prediction.labels == labels(pair.model.tokenizer, best.indices[row].tolist())
        assert sorted(prediction.probabilities, reverse=True) == list(prediction.probabilities)


@pytest.mark.parametrize("length", [2, 30])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_decoders_losses_are_cross_entropies(
    zoo: Callable[[str], Pair], name: str, length: int
) -> None:
    pair = zoo(name)
    (text,) = random_texts(pair.model, (length,))
    one = capture_ids(pair.model, [text])[0]
    expected = cross_entropy(
        logits_of(pair, text)[:-1], torch.tensor(text.ids[1:]), reduction="none"
    )
    np.testing.assert_allclose(one.losses[:-1], expected, atol=1e-4)
    assert np.isnan(one.losses[-1])


def test_losses_beyond_a_block_of_positions(
    zoo: Callable[[str], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = zoo("gpt2")
    (text,) = random_texts(pair.model, (50,))
    whole = capture_ids(pair.model, [text])[0]
    monkeypatch.setattr("attnviz.models.inputs.predictions.LOGIT_ROWS", 7)
    blocks = capture_ids(pair.model, [text])[0]
    np.testing.assert_array_equal(whole.losses, blocks.losses)
    assert [one.labels for one in whole.predictions] == [one.labels for one in blocks.predictions]


def test_a_targets_losses_include_its_end(zoo: Callable[[str], Pair]) -> None:
    """The last position predicts the end token, which is not an input of the decoder."""
    pair = zoo("t5")
    one = capture(pair.model, TEXT, target="The dog sat.")
    words = pair.model.tokenizer("The dog sat.")["input_ids"]
    assert words[-1] == pair.model.tokenizer.eos_token_id
    assert one["decoder"].query_tokens.ids.tolist() == [0, *words[:-1]]
    text = Encoded(tuple(one["encoder"].query_tokens.ids), target=(0, *words[:-1]))
    expected = cross_entropy(logits_of(pair, text), torch.tensor(words), reduction="none")
    np.testing.assert_allclose(one.losses, expected, atol=1e-4)
    assert not one.generated


def test_an_encoder_has_no_losses(bert: Model) -> None:
    one = capture(bert, TEXT)
    assert np.isnan(one.losses).all()
    assert len(one.losses) == len(one.predictions) == len(one["self"].query_tokens)


def test_predictions_can_be_left_out(gpt: Model, bert: Model, t5: Model) -> None:
    for model in (gpt, bert, t5):
        one = capture(model, TEXT, predict=False)
        assert one.predictions == ()
        assert np.isnan(one.losses).all()
        full = capture(model, TEXT)
        for kind in full.kinds:
            np.testing.assert_array_equal(one[kind].weights(1, 1), full[kind].weights(1, 1))


def test_a_written_target_is_what_the_library_writes(zoo: Callable[[str], Pair]) -> None:
    pair = zoo("t5")
    ids = torch.tensor([pair.model.tokenizer(TEXT)["input_ids"]])
    written = pair.eager.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=64,
        do_sample=False,
        use_cache=False,
    )[0].tolist()
    one = capture(pair.model, TEXT)
    assert one.generated
    read = one["decoder"].query_tokens.ids.tolist()
    assert read == (written[:-1] if written[-1] == pair.model.tokenizer.eos_token_id else written)
    assert one.target_text == pair.model.tokenizer.decode(written, skip_special_tokens=True)


def test_the_shipped_translator_translates() -> None:
    import attnviz

    model = attnviz.load("t5-classroom")
    one = capture(model, model.prompt + "The cat is black.")
    assert one.generated
    assert one.target_text is not None
    assert "chat" in one.target_text
    assert one["cross"].key_tokens.labels != one["cross"].query_tokens.labels
    assert np.nanmean(one.losses) < 2


@pytest.mark.parametrize("begin", [None, True, False])
def test_the_begin_token_of_a_decoder(gpt: Model, begin: bool | None) -> None:
    tokens = capture(gpt, TEXT, begin=begin)["self"].query_tokens
    starts = tokens.ids[0] == gpt.tokenizer.bos_token_id
    assert starts == (begin is not False)
    assert tokens.special[0] == starts
    assert not tokens.special[1:].any()


def test_a_begin_token_is_not_added_twice(gpt: Model) -> None:
    ids = capture(gpt, "<|begin|>The cat")["self"].query_tokens.ids.tolist()
    assert ids.count(gpt.tokenizer.bos_token_id) == 1
