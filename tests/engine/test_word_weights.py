"""Weights between words against loops over the definition, and the words of real tokenizers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import ByT5Tokenizer

import attnviz
from attnviz import Model
from attnviz.attention import AttentionStack
from attnviz.attention.stack.map_axes import MapAxes, merged_weights
from attnviz.attention.stack.map_tiles import BINS, Window
from attnviz.captures.word_weights import word_axes
from attnviz.errors import CaptureError
from attnviz.models import tokens, words
from attnviz.types import Head, Tokens, Words
from tests.bounds import SAME
from tests.engine.handmade import causal, record, vectors
from tests.vocabularies import vocabulary
from tests.zoo import Pair

HEAD = Head("self", 0, 1)


def axis(edges: np.ndarray) -> Words:
    count = len(edges) - 1
    labels = tuple(f"w{number}" for number in range(count))
    return Words(edges, Tokens(np.arange(count), labels, np.zeros(count, bool)))


def random_edges(rng: np.random.Generator, length: int) -> np.ndarray:
    inner = np.flatnonzero(rng.random(length - 1) < rng.random()) + 1
    return np.concatenate([[0], inner, [length]])


def slow(weights: np.ndarray, queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return the definition as loops: mean over query tokens of the sum over key tokens."""
    merged = np.zeros((len(queries) - 1, len(keys) - 1))
    for row in range(len(queries) - 1):
        for column in range(len(keys) - 1):
            total = 0.0
            for query in range(queries[row], queries[row + 1]):
                for key in range(keys[column], keys[column + 1]):
                    total += float(weights[query, key])
            merged[row, column] = total / (queries[row + 1] - queries[row])
    return merged


def sample(queries: int, keys: int | None = None, seed: int = 0) -> AttentionStack:
    one = vectors(1, 2, 2, queries, keys or queries, 6, 5, seed)
    mask = None if keys else torch.as_tensor(causal(queries))[None, None]
    return record([one], mask, kind="cross" if keys else "self")


@given(st.integers(1, 40), st.integers(1, 30), st.booleans(), st.integers(0, 10_000))
def test_merged_weights_equal_loops(queries: int, keys: int, cross: bool, seed: int) -> None:
    stack = sample(queries, keys if cross else None, seed)
    rng = np.random.default_rng(seed)
    rows, columns = random_edges(rng, stack.shape[2]), random_edges(rng, stack.shape[3])
    weights = stack.weights(0, 1)
    merged = merged_weights(stack, 0, 1, rows, columns)
    np.testing.assert_allclose(merged, slow(weights, rows, columns), atol=SAME)
    np.testing.assert_allclose(merged.sum(1), 1.0, atol=SAME)


@given(st.integers(2, 40), st.integers(0, 10_000))
def test_a_causal_map_stays_lower_triangular(length: int, seed: int) -> None:
    edges = random_edges(np.random.default_rng(seed), length)
    axes = MapAxes(sample(length, seed=seed), axis(edges), axis(edges))
    later = np.triu(np.ones(axes.shape, bool), 1)
    assert not axes.weights(HEAD)[later].any()
    np.testing.assert_array_equal(axes.visible(0), ~later)
    if axes.merged:
        np.testing.assert_array_equal(np.isnan(axes.grid(HEAD, Window.whole(axes.shape)).values),
                                      later)  # fmt: skip


def test_a_word_per_token_is_the_map_itself() -> None:
    stack = sample(30)
    one = axis(np.arange(31))
    axes = MapAxes(stack, one, one)
    assert not axes.merged
    np.testing.assert_array_equal(axes.weights(HEAD), stack.weights(0, 1))


def test_a_part_of_a_word_map_is_a_part_of_the_whole() -> None:
    edges = random_edges(np.random.default_rng(3), 60)
    axes = MapAxes(sample(60), axis(edges), axis(edges))
    rows, columns = slice(4, 11), slice(2, 9)
    np.testing.assert_allclose(
        axes.weights(HEAD, rows, columns), axes.weights(HEAD)[rows, columns], atol=SAME
    )
    np.testing.assert_array_equal(axes.visible(0, rows, columns), axes.visible(0)[rows, columns])


@pytest.fixture(scope="module")
def long_axes() -> MapAxes:
    """Return 700 words or so of a text of 1,000 tokens."""
    edges = np.concatenate([[0], np.flatnonzero(np.random.default_rng(1).random(999) < 0.7) + 1,
                            [1000]])  # fmt: skip
    return MapAxes(sample(1000), axis(edges), axis(edges))


@pytest.mark.parametrize("how", ["max", "mean"])
@pytest.mark.parametrize("aside", [(), (0, 5)])
def test_long_maps_are_merged_before_they_are_binned(
    long_axes: MapAxes, how: str, aside: tuple[int, ...]
) -> None:
    window = Window(3, long_axes.shape[0], 0, long_axes.shape[1] - 2)
    tiles = long_axes.grid(HEAD, window, how=how, aside=aside)  # type: ignore[arg-type]
    assert max(tiles.values.shape) <= BINS and tiles.query_step == tiles.key_step > 1
    cells = slow_visible(long_axes)[window.slices]
    cells[:, [one - window.key_start for one in aside]] = np.nan
    step = tiles.query_step
    for row, column in [(0, 0), (40, 3), (77, 60), (len(tiles.values) - 1, 9), (3, 200)]:
        part = cells[row * step : (row + 1) * step, column * step : (column + 1) * step]
        known = part[~np.isnan(part)]
        if known.size == 0:
            assert not np.isfinite(tiles.values[row, column])
            continue
        wanted = known.max() if how == "max" else known.mean()
        assert tiles.values[row, column] == pytest.approx(wanted, abs=SAME)


def slow_visible(axes: MapAxes) -> np.ndarray:
    weights = axes.stack.weights(0, 1).astype(np.float64)
    rows = np.add.reduceat(weights, axes.queries.edges[:-1], axis=0) / axes.queries.lengths[:, None]
    merged = np.add.reduceat(rows, axes.keys.edges[:-1], axis=1)
    merged[np.triu(np.ones(merged.shape, bool), 1)] = np.nan
    return merged


def test_columns_of_tokens(long_axes: MapAxes) -> None:
    edges = long_axes.keys.edges
    inside = (int(edges[7]), int(edges[8]) - 1, int(edges[2]))
    assert long_axes.columns_of(inside) == (2, 7)


def labelled(kind: str, text: str) -> tuple[str, ...]:
    tokenizer = vocabulary(kind)
    return words(tokenizer, tokens(tokenizer, tokenizer(text)["input_ids"])).tokens.labels


def test_words_of_word_pieces() -> None:
    assert labelled("wordpiece", "Colourless hats, furiously sleeping.") == (
        *("[CLS]", "colourless", "hats", ",", "furiously", "sleeping", ".", "[SEP]"),
    )


def test_words_of_byte_pairs() -> None:
    """The tokenizer's rule for words: letters, digits, or marks, with the space before them."""
    assert labelled("bpe", "Furiously sleeping cats:\n\t日本。 schön 🎉 x1") == (
        *("Furiously", "sleeping", "cats", ":", "↵", "⇥", "日", "本", "。", "schön", "🎉"),
        *("x", "1"),
    )


def test_words_of_pieces_with_a_mark_for_a_space() -> None:
    assert labelled("unigram", "The cats, and the dog.") == (
        *("The", "cats", ",", "and", "the", "dog", ".", "</s>"),
    )


def test_bytes_of_a_slow_tokenizer_are_one_word_up_to_a_space() -> None:
    """ByT5 has no word ids; a space is a token."""
    tokenizer = ByT5Tokenizer()
    ids = tokenizer("né o.")["input_ids"]
    merged = words(tokenizer, tokens(tokenizer, ids))
    assert merged.tokens.labels == ("né", "o", ".", "</s>")
    assert merged.lengths.tolist() == [3, 2, 1, 1]  # the space is part of the second word


def test_a_text_that_is_not_read_into_the_same_tokens_again() -> None:
    """Ids that no text would give: the marks of the vocabulary say where words begin."""
    tokenizer = vocabulary("bpe")
    letters = [tokenizer.convert_tokens_to_ids(one) for one in ("c", "a", "t", "Ġ", "c", "a", "t")]
    merged = words(tokenizer, tokens(tokenizer, letters))
    assert merged.tokens.labels == ("cat", "cat")


def test_a_cut_character_keeps_its_bytes() -> None:
    tokenizer = vocabulary("bpe")
    ids = tokenizer("a 日", add_special_tokens=False)["input_ids"][:-1]
    merged = words(tokenizer, tokens(tokenizer, ids))
    assert merged.tokens.labels == ("a", "<0xE6><0x97>")


def test_every_token_is_in_one_word_in_order() -> None:
    for kind in ("wordpiece", "bpe", "unigram"):
        tokenizer = vocabulary(kind)
        shown = tokens(tokenizer, tokenizer("Well, 日本 👩‍👧 is\n\tx=1;  y")["input_ids"])
        merged = words(tokenizer, shown)
        assert merged.edges[0] == 0 and merged.edges[-1] == len(shown)
        assert (merged.lengths > 0).all() and len(merged.tokens.labels) == len(merged)
        assert all(merged.tokens.labels)
        for place in np.flatnonzero(shown.special):
            word = merged.index_of(int(place))
            assert merged.lengths[word] == 1 and merged.tokens.special[word]
        for place in range(len(shown)):
            word = merged.index_of(place)
            assert merged.edges[word] <= place <= merged.last_token(word)


def test_words_of_two_sentences_and_of_a_translation() -> None:
    bert = attnviz.load("bert-classroom")
    capture = attnviz.capture(bert, "The cat sat", pair="extraordinarily well")
    merged = attnviz.word_weights(capture, "self", 0, 1)
    assert merged.queries.tokens.labels == (
        *("[CLS]", "the", "cat", "sat", "[SEP]", "extraordinarily", "well", "[SEP]"),
    )
    assert merged.queries.tokens.segments is not None
    assert merged.queries.tokens.segments.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    t5 = attnviz.load("t5-classroom")
    capture = attnviz.capture(t5, "The unbelievable house.", target="La maison incroyable.")
    merged = attnviz.word_weights(capture, "cross", 1, 2)
    assert merged.keys.tokens.labels == ("The", "unbelievable", "house", ".", "</s>")
    stack = capture["cross"]
    np.testing.assert_allclose(
        merged.weights,
        slow(stack.weights(1, 2), merged.queries.edges, merged.keys.edges),
        atol=SAME,
    )
    np.testing.assert_allclose(merged.weights.sum(1), 1.0, atol=SAME)


@pytest.mark.parametrize("name", ["gpt2", "mistral", "gemma2", "gpt_oss"])
def test_rows_sum_to_what_the_rows_of_tokens_sum_to(zoo: Callable[[str], Pair], name: str) -> None:
    model = zoo(name).model
    capture = attnviz.capture(model, "Colourless green ideas sleep furiously, and a dog wakes.")
    axes = word_axes(capture, "self")
    assert axes.merged
    tokens_sum = capture["self"].weights(0, 1).sum(1)
    wanted = np.add.reduceat(tokens_sum, axes.queries.edges[:-1]) / axes.queries.lengths
    np.testing.assert_allclose(axes.weights(HEAD).sum(1), wanted, atol=SAME)


def test_what_has_no_weights_has_none_between_words() -> None:
    model: Model = attnviz.load("gpt-classroom")
    capture = attnviz.capture(model, "The cat.", keep="statistics")
    with pytest.raises(CaptureError, match="statistics"):
        attnviz.word_weights(capture, "self", 0, 0)
