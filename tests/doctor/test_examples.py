"""Texts as a model reads them: windows, masks, targets, and what is said about it."""

from __future__ import annotations

import dataclasses

import pytest

import attnviz
from attnviz import Model
from attnviz.errors import EmptyText, InputError, TextTooLong
from attnviz.experiments import encoded_texts
from attnviz.experiments.encoded_texts import WINDOW_TOKENS
from attnviz.experiments.loss_examples import MASKED_COPIES, batches, examples
from attnviz.experiments.text_sets import Text, TextSet, bundled
from tests.zoo import make_pair

STORY = "Once upon a time there was a little girl. She lived in a small house by the river. "


@pytest.fixture(scope="module")
def gpt() -> Model:
    return attnviz.load("gpt-classroom")


@pytest.fixture(scope="module")
def bert() -> Model:
    return attnviz.load("bert-classroom")


@pytest.fixture(scope="module")
def t5() -> Model:
    return attnviz.load("t5-classroom")


def texts(*sources: str) -> TextSet:
    return TextSet("mine", tuple(Text(source) for source in sources))


def test_a_decoder_is_asked_for_every_next_token(gpt: Model) -> None:
    (one,), notes = examples(gpt, texts(STORY))
    (loss_input,) = one.loss_inputs
    assert notes == ()
    assert one.encoded.ids[0] == gpt.tokenizer.bos_token_id
    assert loss_input.positions == tuple(range(len(one.encoded.ids) - 1))
    assert loss_input.target_ids == one.encoded.ids[1:]
    assert one.tokens == len(loss_input.target_ids)


def test_an_encoder_is_asked_for_masked_tokens_only(bert: Model) -> None:
    (one,), _ = examples(bert, texts(STORY), seed=3)
    special = set(bert.tokenizer.all_special_ids)
    hidden: set[int] = set()
    for loss_input in one.loss_inputs:
        for place, (read, plain) in enumerate(
            zip(loss_input.encoded.ids, one.encoded.ids, strict=True)
        ):
            if place in loss_input.positions:
                assert read == bert.tokenizer.mask_token_id
                assert plain not in special
            else:
                assert read == plain
        assert loss_input.target_ids == tuple(one.encoded.ids[at] for at in loss_input.positions)
        assert hidden.isdisjoint(loss_input.positions)
        hidden |= set(loss_input.positions)
    assert len(one.loss_inputs) == MASKED_COPIES
    ordinary = sum(number not in special for number in one.encoded.ids)
    assert len(hidden) == pytest.approx(MASKED_COPIES * 0.15 * ordinary, abs=MASKED_COPIES)
    assert examples(bert, texts(STORY), seed=3)[0] == (one,)
    assert examples(bert, texts(STORY), seed=4)[0] != (one,)


def test_a_translator_is_asked_for_the_given_target(t5: Model) -> None:
    given = TextSet("mine", (Text("The cat sleeps.", "Le chat dort."),))
    (one,), notes = examples(t5, given)
    assert notes == ()
    assert one.encoded.target is not None
    wanted = one.loss_inputs[0].target_ids
    assert t5.tokenizer.decode(wanted, skip_special_tokens=True) == "Le chat dort."
    assert wanted[-1] == t5.tokenizer.eos_token_id
    assert t5.tokenizer.decode(one.encoded.ids).startswith(t5.prompt.strip())


def test_without_a_target_it_is_asked_for_its_own_words_and_that_is_said(t5: Model) -> None:
    (one,), notes = examples(t5, texts("The cat sleeps."))
    captured = attnviz.capture(t5, t5.prompt + "The cat sleeps.")
    assert one.encoded.target == captured.inputs.target
    assert notes == (
        "where no target was given, the loss is that of what t5-classroom writes itself",
    )


@pytest.mark.slow
def test_a_model_that_does_not_translate_is_not_asked_for_french(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_pair("bart", tmp_path_factory.mktemp("bart")).model
    whole = bundled("encoder-decoder")
    few = dataclasses.replace(whole, texts=whole.texts[:6])  # the model writes a target for each
    monkeypatch.setattr(encoded_texts, "bundled", lambda family: few)
    read, notes = examples(model, dataclasses.replace(few))
    assert any("writes itself" in note for note in notes)
    assert len(read) == len(few.texts)
    (french,), _ = examples(model, TextSet("mine", (Text("yes", "oui"),)))
    assert french.loss_inputs[0].encoded.target != read[0].loss_inputs[0].encoded.target


@pytest.mark.parametrize("source", [STORY * 30, "x" * 900, "河" * 900])
def test_long_texts_are_read_in_windows_and_nothing_is_lost(gpt: Model, source: str) -> None:
    room = min(gpt.info.max_tokens or 0, WINDOW_TOKENS)
    windows, notes = examples(gpt, texts("Short.", source))
    assert len(windows) > 2
    assert [one.number for one in windows] == [0] + [1] * (len(windows) - 1)
    assert all(len(one.encoded.ids) <= room and one.encoded.cut == 0 for one in windows)
    assert f"1 of 2 texts had more tokens than are read at a time ({room})" in notes[0]
    read = "".join(
        gpt.tokenizer.decode(one.encoded.ids, skip_special_tokens=True) for one in windows[1:]
    )
    assert read.replace(" ", "") == source.replace(" ", "")


def test_windows_end_between_words(bert: Model) -> None:
    windows, _ = examples(bert, texts(STORY * 30))
    for one in windows[:-1]:
        assert len(one.encoded.ids) > 0.6 * (bert.info.max_tokens or 0)
        last = bert.tokenizer.convert_ids_to_tokens(one.encoded.ids[-2])
        following = windows[windows.index(one) + 1].encoded.ids[1]
        assert not str(bert.tokenizer.convert_ids_to_tokens(following)).startswith("##"), last


def test_long_texts_can_be_refused(gpt: Model) -> None:
    with pytest.raises(TextTooLong, match=r"text 2 has .* room for 256; .* windows"):
        examples(gpt, texts(STORY, STORY * 30), long="refuse")
    with pytest.raises(InputError, match="'windows' or 'refuse'"):
        examples(gpt, texts(STORY), long="cut")  # type: ignore[arg-type]


def test_a_long_text_with_a_target_is_refused(t5: Model) -> None:
    given = TextSet("mine", (Text(STORY * 40, "Il était une fois."),))
    with pytest.raises(InputError, match="it is unknown which part of the target"):
        examples(t5, given)


def test_no_texts_no_diagnosis(gpt: Model) -> None:
    with pytest.raises(EmptyText, match="at least one"):
        examples(gpt, TextSet("mine", ()))


def test_a_model_without_a_language_head_is_asked_nothing(bert: Model) -> None:
    read, notes = examples(dataclasses.replace(bert, predicts=False), texts(STORY))
    assert read[0].loss_inputs == ()
    assert "no trained language head" in notes[0]


def test_a_tokenizer_without_a_mask_is_said(bert: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(bert.tokenizer), "mask_token_id", None, raising=False)
    read, notes = examples(bert, texts(STORY))
    assert read[0].loss_inputs == ()
    assert "no mask token" in notes[0]


def test_batches_hold_every_row_once_and_stay_small(gpt: Model) -> None:
    rows = [one.encoded for one in examples(gpt, bundled("decoder"))[0]]
    groups = list(batches(rows, 300))
    assert sorted(index for group in groups for index in group) == list(range(len(rows)))
    for group in groups:
        longest = max(len(rows[index].ids) for index in group)
        assert len(group) == 1 or longest * len(group) <= 300
    assert len(groups) < len(rows)
