"""Captured weights equal the library's eager attention, in every architecture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from attnviz import Capture
from attnviz.captures.forward_pass import Encoded, capture, capture_ids
from tests.bounds import MODEL
from tests.vocabularies import SENTENCES
from tests.zoo import (
    ARCHITECTURES,
    EVERYTHING,
    Pair,
    all_weights,
    eager_attentions,
    inputs_of,
    random_texts,
)

LONG = 100
LENGTHS = [(1,), (2,), (9,), (33,), (130,), (33, 1, 130, 2, 9)]

every_architecture = pytest.mark.parametrize("name", EVERYTHING)


def assert_equal_weights(capture: Capture, truth: dict, text: int = 0) -> None:
    assert set(capture.kinds) == set(truth)
    for kind, stack in capture.stacks.items():
        layers, heads, queries, keys = stack.shape
        assert len(truth[kind]) == layers
        mine = all_weights(stack)
        bound = MODEL if keys < LONG else 2 * MODEL  # sums of more terms
        for layer in range(layers):
            theirs = truth[kind][layer][text, :, :queries, :keys].float().numpy()
            assert theirs.shape == (heads, queries, keys)
            np.testing.assert_allclose(
                mine[layer], theirs, atol=bound, rtol=0, err_msg=f"{kind} layer {layer}"
            )


@every_architecture
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_weights_equal_eager(zoo: Callable[[str], Pair], name: str, lengths: tuple) -> None:
    pair = zoo(name)
    texts = random_texts(pair.model, lengths)
    truth = eager_attentions(pair.eager, **inputs_of(pair.model, texts))
    for number, one in enumerate(capture_ids(pair.model, texts)):
        assert_equal_weights(one, truth, number)


@every_architecture
def test_padding_changes_no_weight(zoo: Callable[[str], Pair], name: str) -> None:
    pair = zoo(name)
    texts = random_texts(pair.model, (7, 40))
    alone = eager_attentions(pair.eager, **inputs_of(pair.model, texts[:1]))
    assert_equal_weights(capture_ids(pair.model, texts)[0], alone)


@every_architecture
def test_logits_equal_eager(zoo: Callable[[str], Pair], name: str) -> None:
    pair = zoo(name)
    texts = random_texts(pair.model, (23, 9))
    inputs = inputs_of(pair.model, texts)
    with torch.inference_mode():
        mine, theirs = (
            getattr(output, "logits", None) if "logits" in output else output[0]
            for output in (pair.model.network(**inputs), pair.eager(**inputs))
        )
    for number, text in enumerate(texts):
        rows = slice(len(text.target or text.ids) or None)
        torch.testing.assert_close(mine[number, rows], theirs[number, rows], atol=2e-4, rtol=1e-4)


@every_architecture
def test_attention_of_the_random_models_is_far_from_uniform(
    zoo: Callable[[str], Pair], name: str
) -> None:
    """If it were uniform, the tests above would compare 1/n with 1/n."""
    pair = zoo(name)
    texts = random_texts(pair.model, (20,))
    for layers in eager_attentions(pair.eager, **inputs_of(pair.model, texts)).values():
        for weights in layers:
            visible = (weights > 0).sum(-1)
            surplus = weights.amax(-1) * visible
            assert surplus[visible > 4].mean() > 1.3


@pytest.mark.parametrize(
    "name", [name for name, what in ARCHITECTURES.items() if what.family == "encoder"]
)
def test_sentence_pairs(zoo: Callable[[str], Pair], name: str) -> None:
    pair = zoo(name)
    inputs = dict(pair.model.tokenizer(*SENTENCES, return_tensors="pt"))
    if not hasattr(pair.eager.config, "type_vocab_size"):
        del inputs["token_type_ids"]
    else:
        assert inputs["token_type_ids"].sum() > 0
    truth = eager_attentions(pair.eager, **inputs)
    shown = capture(pair.model, SENTENCES[0], pair=SENTENCES[1])
    assert_equal_weights(shown, truth)
    assert shown["self"].query_tokens.segments.sum() > 0


def test_sentence_pairs_in_a_padded_batch(zoo: Callable[[str], Pair]) -> None:
    pair = zoo("bert")
    encodings = [pair.model.tokenizer(*SENTENCES), pair.model.tokenizer("A cat.", "The hat!")]
    texts = [Encoded(tuple(one["input_ids"]), tuple(one["token_type_ids"])) for one in encodings]
    for one, text in zip(capture_ids(pair.model, texts), encodings, strict=True):
        alone = {name: torch.tensor([ids]) for name, ids in text.items()}
        assert_equal_weights(one, eager_attentions(pair.eager, **alone))


def test_segments_matter(zoo: Callable[[str], Pair]) -> None:
    """Without segments the logits of a pair differ, so the test above can fail."""
    pair = zoo("bert")
    encoding = pair.model.tokenizer(*SENTENCES)
    with_segments = Encoded(tuple(encoding["input_ids"]), tuple(encoding["token_type_ids"]))
    without = Encoded(tuple(encoding["input_ids"]))
    one, other = (capture_ids(pair.model, [text])[0]["self"] for text in (with_segments, without))
    assert np.abs(all_weights(one) - all_weights(other)).max() > 0.01
