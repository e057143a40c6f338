"""Unusual texts: read unchanged, or refused with a message."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from transformers import ByT5Tokenizer

from attnviz import Model, capture, capture_many
from attnviz.captures.forward_pass import encode
from attnviz.errors import AttnvizError, EmptyText, InputError, TextTooLong
from attnviz.models import printable
from attnviz.models.tokenizers.marker_ids import marker_ids
from tests.zoo import Pair

MODELS = ["bert", "gpt2", "t5", "roberta"]
every_model = pytest.mark.parametrize("name", MODELS)

STRANGE = {
    "markup": "</script><img src=x onerror=alert(1)> &lt;b&gt; ]]>",
    "template": "${alert(1)} {{7*7}} <%= 1 %> %s {0}",
    "controls": "a\x00b\x07c\x1b[31md\x7fe\x85f",
    "lines": "one\ntwo\r\nthree\tfour\x0bfive\u2028six\u2029seven",
    "right to left": "שלום עולם مرحبا بالعالم",
    "direction marks": "abc\u202edef\u202c\u2066ghi\u2069\u200fjkl\u061c",
    "emoji": "👩‍👩‍👧‍👦 🇺🇦 👍🏽 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "combining": "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!",
    "invisible": "a\u200bb\u00adc\ufeffd\u2060e\u180e",
    "private": "\ue000\uf8ff\U000f0000\ufffe\U0010ffff",
    "chinese": "注意力机制告诉模型看哪里",
    "spaces": "a\u00a0b\u3000c\u2003d   e ",
    "special words": "[CLS] [SEP] [MASK] </s> <pad> <|begin|> <|pad|> [PAD]",
    "one letter": "a",
    "zero width only": "\u200b",
    "sentencepiece": "▁▁ a▁b Ġ Ċ ##a",
}


@every_model
@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE.keys())
def test_strange_text_is_read_and_labelled(
    zoo: Callable[[str], Pair], name: str, text: str
) -> None:
    target = text if name == "t5" else None
    one = capture(zoo(name).model, text, target=target)
    assert one.text == text
    for stack in one.stacks.values():
        assert stack.shape[2:] == (len(stack.query_tokens), len(stack.key_tokens))
        assert np.isfinite(stack.weights(0, 0)).all()
        for label in (*stack.query_tokens.labels, *stack.key_tokens.labels):
            assert_readable(label)
    for prediction in one.predictions:
        for label in prediction.labels:
            assert_readable(label)


def assert_readable(label: str) -> None:
    """Check that a label is visible and has no control or direction characters."""
    assert label.strip()
    for character in label:
        if character in "\u200d\ufe0f":  # joins the parts of an emoji
            continue
        assert unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"), repr(label)
        assert character not in "\n\r\t \u00a0", repr(label)


def test_labels_keep_what_can_be_read(gpt: Model) -> None:
    shown = capture(gpt, "The cat</script>")["self"].query_tokens.labels
    assert "".join(shown).replace("·", " ").endswith("The cat</script>")
    assert shown[0] == "<|begin|>"


def test_a_leading_space_is_seen(gpt: Model, t5: Model, bert: Model) -> None:
    assert "·cat" in capture(gpt, "The cat")["self"].query_tokens.labels
    assert "·cat" in capture(t5, "The cat", target="a")["encoder"].query_tokens.labels
    assert "cat" in capture(bert, "The cat")["self"].query_tokens.labels


def test_parts_of_a_character_have_different_labels(gpt: Model) -> None:
    labels = capture(gpt, "💥")["self"].query_tokens.labels[1:]
    assert len(set(labels)) == len(labels) == 4


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", "a·b"),
        ("\n", "↵"),
        ("\t", "⇥"),
        ("", "∅"),
        ("\x00", "⟨0⟩"),
        ("a\u202eb", "a⟨202E⟩b"),
        ("\u200d", "⟨200D⟩"),
        ("👩\u200d👧", "👩\u200d👧"),
        ("<b>", "<b>"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@every_model
@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u00a0\u3000"])
def test_empty_text_is_refused(zoo: Callable[[str], Pair], name: str, text: str) -> None:
    with pytest.raises(EmptyText, match="type at least one word"):
        capture(zoo(name).model, text)


@every_model
def test_half_a_character_is_refused(zoo: Callable[[str], Pair], name: str) -> None:
    """A lone surrogate is not text; files decoded with surrogateescape contain them."""
    for text in ("\ud83d", "cat \udc00 mat"):
        with pytest.raises(InputError, match="half a character"):
            capture(zoo(name).model, text)


def test_half_a_character_in_a_pair_or_target(bert: Model, t5: Model) -> None:
    with pytest.raises(InputError, match="half a character"):
        capture(bert, "cat", pair="\ud83d")
    with pytest.raises(InputError, match="half a character"):
        capture(t5, "cat", target="\ud83d")


LONG = "cat " * 5000


@every_model
def test_a_text_that_is_too_long_says_by_how_much(zoo: Callable[[str], Pair], name: str) -> None:
    model = zoo(name).model
    with pytest.raises(TextTooLong) as caught:
        capture(model, LONG)
    error = caught.value
    assert error.limit == model.info.max_tokens == 160
    assert error.tokens >= 5000
    for number in (error.tokens, error.limit, error.tokens - error.limit):
        assert f"{number:,}" in str(error)


@every_model
def test_a_text_that_is_cut_says_by_how_much(zoo: Callable[[str], Pair], name: str) -> None:
    model = zoo(name).model
    with pytest.raises(TextTooLong) as caught:
        encode(model, LONG)
    whole = model.tokenizer(LONG)["input_ids"]
    cut = encode(model, LONG, cut=True)
    assert len(cut.ids) == 160
    assert cut.cut == caught.value.tokens - 160
    if model.info.family == "decoder":
        assert list(cut.ids) == [model.tokenizer.bos_token_id, *whole[:159]]
    else:  # the closing token stays
        assert list(cut.ids) == [*whole[:159], whole[-1]]


def test_a_cut_text_can_be_captured(bert: Model) -> None:
    one = capture(bert, LONG, cut=True, keep="statistics")
    assert one["self"].shape[2:] == (160, 160)
    assert one.cut == 5002 - 160


def test_a_text_that_just_fits(bert: Model) -> None:
    assert capture(bert, "cat " * 158).cut == 0
    with pytest.raises(TextTooLong, match="shorten it by 1 token"):
        capture(bert, "cat " * 159)


@pytest.mark.parametrize(("first", "second"), [(500, 20), (20, 500), (500, 400), (100, 100)])
def test_the_longer_sentence_of_a_pair_is_cut(
    zoo: Callable[[str], Pair], first: int, second: int
) -> None:
    model = zoo("bert").model
    cut = encode(model, "cat " * first, pair="mat " * second, cut=True)
    separator = model.tokenizer.sep_token_id
    assert len(cut.ids) == 160
    assert cut.cut == first + second + 3 - 160
    assert cut.ids.count(separator) == 2
    assert cut.ids[-1] == separator
    assert cut.segments is not None
    lengths = [cut.ids.index(separator) - 1, 158 - cut.ids.index(separator)]
    assert cut.segments == (0,) * (lengths[0] + 2) + (1,) * (lengths[1] + 1)
    assert min(lengths) >= min(first, second, 78)


def test_a_smaller_limit(gpt: Model) -> None:
    with pytest.raises(TextTooLong) as caught:
        capture(gpt, "cat " * 100, limit=50)
    assert caught.value.limit == 50
    assert caught.value.tokens > 100
    one = capture(gpt, "cat " * 100, limit=50, cut=True)
    assert len(one["self"].query_tokens) == 50
    assert one.cut == caught.value.tokens - 50
    assert encode(gpt, "cat", limit=10_000) == encode(gpt, "cat")


@pytest.mark.parametrize("name", ["gpt2", "t5", "llama"])
def test_a_pair_is_for_encoders(zoo: Callable[[str], Pair], name: str) -> None:
    with pytest.raises(InputError, match="second sentence is for encoders such as BERT"):
        capture(zoo(name).model, "The cat.", pair="The dog.")


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_a_target_is_for_encoder_decoders(zoo: Callable[[str], Pair], name: str) -> None:
    with pytest.raises(InputError, match=r"no decoder that writes a target.*such as T5"):
        capture(zoo(name).model, "The cat.", target="The dog.")


@pytest.mark.parametrize("pair", ["", "  \n"])
def test_an_empty_pair_is_no_pair(bert: Model, pair: str) -> None:
    one = capture(bert, "The cat.", pair=pair)
    assert len(one["self"].query_tokens) == len(capture(bert, "The cat.")["self"].query_tokens)


@pytest.mark.parametrize("target", ["", " \n"])
def test_an_empty_target_is_refused(t5: Model, target: str) -> None:
    with pytest.raises(EmptyText, match=r"target text is empty.*let the model write it"):
        capture(t5, "The cat.", target=target)


def test_a_target_that_is_too_long(t5: Model) -> None:
    with pytest.raises(TextTooLong, match="the target has"):
        capture(t5, "cat", target="cat " * 300)
    one = capture(t5, "cat", target="cat " * 300, cut=True)
    assert len(one["decoder"].query_tokens) == 160
    assert one.cut > 100


def test_many_texts_come_back_in_order(gpt: Model) -> None:
    texts = [" ".join(["cat"] * (1 + 7 * number % 23)) for number in range(37)]
    captures = list(capture_many(gpt, texts, batch=8))
    assert [one.text for one in captures] == texts
    for text, one in zip(texts, captures, strict=True):
        alone = capture(gpt, text, keep="statistics", predict=False)["self"]
        assert one["self"].shape == alone.shape
        for name in ("entropy", "key_mass", "induction"):
            np.testing.assert_allclose(
                one["self"].statistic(name), alone.statistic(name), atol=1e-4
            )


def test_many_texts_of_an_encoder_decoder(t5: Model) -> None:
    texts = ["The cat sat.", "The dog.", "A cat"]
    for text, one in zip(texts, capture_many(t5, texts), strict=True):
        assert one.text == text
        assert one.generated
        assert one.target_text == capture(t5, text).target_text


def test_no_texts_at_all(gpt: Model) -> None:
    assert list(capture_many(gpt, [])) == []


def test_one_bad_text_among_many_is_refused(gpt: Model) -> None:
    with pytest.raises(AttnvizError):
        list(capture_many(gpt, ["fine", " "]))


def test_an_unknown_word_is_no_marker(bert: Model, gpt: Model) -> None:
    tokens = capture(bert, "The 💥 sat")["self"].query_tokens
    unknown = tokens.labels.index("[UNK]")
    assert tokens.special.tolist() == [True, *(False,) * (len(tokens) - 2), True]
    assert 0 < unknown < len(tokens) - 1
    assert gpt.tokenizer.bos_token_id in marker_ids(gpt.tokenizer)


@pytest.mark.parametrize("word", ["<unk>", "<pad>", "cat"])
def test_special_tokens_that_are_typed_belong_to_their_sentence(bert: Model, word: str) -> None:
    """A tokenizer in Python, without sentence numbers: the end token closes both sentences."""
    model = replace(bert, vocabulary=ByT5Tokenizer())
    first = model.tokenizer(f"a {word} b", add_special_tokens=False)["input_ids"]
    segments = encode(model, f"a {word} b", pair="cd").segments
    assert segments == (0,) * (len(first) + 1) + (1,) * 3
