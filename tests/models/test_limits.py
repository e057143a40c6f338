"""Longest text of a model: found in the model, whatever its tokenizer claims."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from attnviz import Model
from attnviz.captures.forward_pass import Encoded, capture_ids
from attnviz.errors import InputError, TextTooLong
from attnviz.models import instrument
from tests.bounds import MODEL
from tests.zoo import ARCHITECTURES, Pair, random_ids

RELATIVE = {"t5", "mt5", "umt5"}  # positions by distance: any length works


def without_tokenizer_limit(pair: Pair) -> Model:
    tokenizer = copy.deepcopy(pair.model.tokenizer)
    tokenizer.model_max_length = 10**30
    return instrument(pair.model.network, tokenizer)


def text_of(model: Model, length: int) -> Encoded:
    ids = random_ids(model, length)
    return Encoded(ids, target=ids if model.info.family == "encoder-decoder" else None)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_text_of_the_largest_length_runs_and_a_longer_one_is_refused(
    zoo: Callable[[str], Pair], name: str
) -> None:
    model = without_tokenizer_limit(zoo(name))
    limit = model.info.max_tokens
    if name in RELATIVE:
        assert limit is None
        return
    assert limit == 160
    capture_ids(model, [text_of(model, limit)], keep="statistics")
    with pytest.raises(TextTooLong) as caught:
        capture_ids(model, [text_of(model, limit + 1)], keep="statistics")
    assert (caught.value.tokens, caught.value.limit) == (161, 160)


def test_a_tokenizer_may_know_a_smaller_limit(zoo: Callable[[str], Pair]) -> None:
    tokenizer = copy.deepcopy(zoo("gpt2").model.tokenizer)
    tokenizer.model_max_length = 40
    assert instrument(zoo("gpt2").model.network, tokenizer).info.max_tokens == 40


@pytest.mark.parametrize("name", ["gpt2", "bert", "t5"])
@pytest.mark.parametrize("number", [-1, 100_000])
def test_ids_outside_the_vocabulary_are_refused(
    zoo: Callable[[str], Pair], name: str, number: int
) -> None:
    model = zoo(name).model
    good = random_ids(model, 4)
    bad = (*good, number)
    texts = (
        [Encoded(bad, target=good), Encoded(good, target=bad)] if name == "t5" else [Encoded(bad)]
    )
    for text in texts:
        with pytest.raises(InputError, match=rf"{number}.*the tokenizer it was trained with"):
            capture_ids(model, [text])


def test_no_ids_at_all(gpt: Model, t5: Model) -> None:
    assert capture_ids(gpt, []) == []
    for model, text in ((gpt, Encoded(())), (t5, Encoded((5,), target=()))):
        with pytest.raises(InputError, match="without any token"):
            capture_ids(model, [text])


def test_an_encoder_decoder_needs_a_target_for_each_text(t5: Model) -> None:
    with pytest.raises(InputError, match="needs a target for each of 2 texts"):
        capture_ids(t5, [Encoded((5, 6), target=(0, 7)), Encoded((5, 6))])


def test_a_tokenizer_without_padding_or_begin_token(zoo: Callable[[str], Pair]) -> None:
    """GPT-2's own has no padding token; texts of different lengths still share a batch."""
    pair = zoo("gpt2")
    tokenizer = copy.deepcopy(pair.model.tokenizer)
    tokenizer.pad_token = None
    model = instrument(pair.model.network, tokenizer)
    texts = [text_of(model, 5), text_of(model, 11)]
    for one, text in zip(capture_ids(model, texts), texts, strict=True):
        alone = capture_ids(pair.model, [text])[0]
        assert abs(one["self"].weights(2, 1) - alone["self"].weights(2, 1)).max() < MODEL
