"""Edits of attention equal slow loops on the library's models, and reach nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

import attnviz
from attnviz import Edit, edited
from attnviz.captures.forward_pass import Capture, Encoded, capture_ids
from attnviz.errors import InputError
from attnviz.experiments.ablation import ablate
from attnviz.experiments.edits.edit_effects import effect_of
from attnviz.experiments.edits.edit_rules import paint, rows_of_text
from attnviz.experiments.generation.token_by_token import generate_ids
from attnviz.experiments.repetition import repeated_examples
from attnviz.types import Head
from tests.bounds import MODEL, MODEL_NATS
from tests.experiments.slow_attention import slow_model
from tests.zoo import random_ids

if TYPE_CHECKING:
    from attnviz import Model
    from tests.zoo import Pair

TOKENS = 9
HEAD = Head("self", 1, 2)
PAINTED = {4: (0.25, 0.0, 0.5, 0.25), 6: (0.0, 1.0)}
EDITS: dict[str, list[Edit]] = {
    "zero": [Edit("zero", HEAD)],
    "mean": [Edit("mean", HEAD)],
    "scale": [Edit("scale", HEAD, factor=-1.5)],
    "uniform": [Edit("uniform", HEAD)],
    "previous": [Edit("previous", HEAD)],
    "first": [Edit("first", HEAD)],
    "rows": [paint(HEAD, PAINTED)],
    "hide everywhere": [Edit("hide", token=3)],
    "hide from one": [Edit("hide", HEAD, token=0)],
    "several": [
        Edit("first", HEAD),
        Edit("hide", token=2),
        Edit("zero", Head("self", 0, 1)),
        Edit("scale", Head("self", 2, 0), factor=3),
    ],
}


def slow_logits(pair: Pair, ids: Sequence[int], edits: Sequence[Edit]) -> Tensor:
    """Return the logits of the library's model with edits made by loops."""
    causal = pair.model.info.family == "decoder"

    def row(layer: int, head: int, query: int, scores: Tensor) -> Tensor:
        seen = query + 1 if causal else len(scores)
        hidden = set()
        forced: dict[int, float] | None = None
        for edit in edits:
            mine = edit.head == Head("self", layer, head)
            if edit.action == "hide" and (mine or edit.head is None) and edit.token != query:
                hidden.add(edit.token)
            if mine and edit.action == "uniform":
                forced = dict.fromkeys(range(seen), 1.0)
            if mine and edit.action == "first":
                forced = {0: 1.0}
            if mine and edit.action == "previous":
                forced = {max(query - 1, 0): 1.0}
            if mine and edit.action == "rows" and query in dict(edit.rows):
                forced = dict(enumerate(dict(edit.rows)[query]))
        weights = torch.zeros_like(scores)
        total = 0.0
        for key in range(seen):
            if key not in hidden:
                given = float((scores[key] - scores[:seen].max()).exp())
                weights[key] = given if forced is None else forced.get(key, 0.0)
                total += float(weights[key])
        return weights / total

    def change(layer: int, head: int, output: Tensor) -> Tensor:
        for edit in edits:
            if edit.head == Head("self", layer, head):
                if edit.action == "zero":
                    output = torch.zeros_like(output)
                if edit.action == "mean":
                    output = (sum(output) / len(output)).expand_as(output)
                if edit.action == "scale":
                    output = output * edit.factor
        return output

    with torch.inference_mode(), slow_model(pair.eager, row, change) as network:
        logits: Tensor = network(torch.tensor([list(ids)])).logits[0]
    return logits


def fast_logits(model: Model, ids: Sequence[int], edits: Sequence[Edit]) -> Tensor:
    """Return the logits of the instrumented model inside the context."""
    with torch.inference_mode(), edited(model, edits):
        logits: Tensor = model.network(torch.tensor([list(ids)])).logits[0]
    return logits


def _capture(model: Model, ids: Sequence[int], edits: Sequence[Edit]) -> Capture:
    with edited(model, edits):
        return capture_ids(model, [Encoded(tuple(ids))])[0]


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert"])
@pytest.mark.parametrize("edits", EDITS)
def test_edits_equal_slow_loops_on_the_library_s_model(
    edits: str, name: str, zoo: Callable[[str], Pair]
) -> None:
    pair = zoo(name)
    ids = random_ids(pair.model, TOKENS)
    logits = fast_logits(pair.model, ids, EDITS[edits])
    expected = slow_logits(pair, ids, EDITS[edits])
    plain = fast_logits(pair.model, ids, [])
    torch.testing.assert_close(logits, expected, atol=MODEL_NATS, rtol=0)
    assert float((logits - plain).abs().max()) > 10 * MODEL_NATS  # the edit has an effect


def test_captures_inside_show_the_edited_weights(gpt: Model) -> None:
    ids = random_ids(gpt, TOKENS)
    before = _capture(gpt, ids, [])["self"]
    for action, key in (("first", lambda q: 0), ("previous", lambda q: max(q - 1, 0))):
        weights = _capture(gpt, ids, [Edit(action, HEAD)])["self"].weights(1, 2)  # type: ignore[arg-type]
        expected = np.zeros((TOKENS, TOKENS))
        for query in range(TOKENS):
            expected[query, key(query)] = 1
        np.testing.assert_allclose(weights, expected, atol=MODEL)
    stack = _capture(gpt, ids, [Edit("uniform", HEAD)])["self"]
    for query in range(TOKENS):
        np.testing.assert_allclose(stack.weights(1, 2)[query, : query + 1], 1 / (query + 1))
    np.testing.assert_allclose(
        stack.statistic("entropy")[1, 2], np.log(np.arange(1, TOKENS + 1)), atol=MODEL_NATS
    )
    np.testing.assert_array_equal(stack.weights(1, 1), before.weights(1, 1))
    stack = _capture(gpt, ids, [paint(HEAD, PAINTED)])["self"]
    for query, row in PAINTED.items():
        np.testing.assert_allclose(stack.weights(1, 2)[query, : len(row)], row, atol=MODEL)
    np.testing.assert_array_equal(stack.weights(1, 2)[5], before.weights(1, 2)[5])
    stack = _capture(gpt, ids, [Edit("hide", token=3)])["self"]
    for layer in range(3):
        column = stack.weights(layer, 0)[:, 3]
        assert column[3] > 0 and not column[[4, 5, 6, 7, 8]].any()
    np.testing.assert_array_equal(
        _capture(gpt, ids, [])["self"].weights(1, 2), before.weights(1, 2)
    )


def test_rows_of_another_text_are_taken_over() -> None:
    model = attnviz.load("gpt-classroom")
    head = Head("self", 1, 5)
    edit = rows_of_text(model, head, "The cat sat on the mat. The cat")
    other = attnviz.capture(model, "The cat sat on the mat. The cat")["self"].weights(1, 5)
    with edited(model, [edit]):
        weights = attnviz.capture(model, "A dog ran in the wood. A dog")["self"].weights(1, 5)
    size = min(len(weights), len(other))
    np.testing.assert_allclose(weights[:size, :size], other[:size, :size], atol=MODEL)


def test_cross_attention_and_the_decoder_of_a_t5(t5: Model) -> None:
    source, target = random_ids(t5, 6), (0, *random_ids(t5, 4))
    encoded = Encoded(source, target=target)
    edits = [
        Edit("hide", token=2, kind="cross"),
        Edit("previous", Head("decoder", 0, 1)),
        Edit("first", Head("encoder", 1, 3)),
    ]
    with edited(t5, edits):
        capture = capture_ids(t5, [encoded])[0]
    for layer in range(3):
        assert not capture["cross"].weights(layer, 1)[:, 2].any()
    decoder = capture["decoder"].weights(0, 1)
    np.testing.assert_allclose(np.diagonal(decoder, -1), 1, atol=MODEL)
    np.testing.assert_allclose(capture["encoder"].weights(1, 3)[:, 0], 1, atol=MODEL)
    # Rows of the other heads still have their bias by distance.
    plain = capture_ids(t5, [encoded])[0]
    np.testing.assert_array_equal(capture["encoder"].weights(0, 0), plain["encoder"].weights(0, 0))


def test_a_zeroed_head_equals_an_ablated_one(gpt: Model) -> None:
    (example,) = repeated_examples(gpt, period=6, sequences=1)
    ablation = ablate(gpt, [example], replacements=("zero",))
    effect = effect_of(gpt, example.encoded, [Edit("zero", HEAD)])
    places = list(example.loss_inputs[0].positions)
    change = float((effect.after - effect.before)[places].sum())
    assert change == pytest.approx(ablation.change["zero"]["self"][1, 2, 0], abs=MODEL_NATS)


def test_padding_of_a_batch_changes_nothing(gpt: Model, bert: Model) -> None:
    for model in (gpt, bert):
        short, long = Encoded(random_ids(model, 5)), Encoded(random_ids(model, 8))
        edits = [Edit("mean", HEAD), Edit("first", Head("self", 0, 0)), Edit("hide", token=1)]
        with edited(model, edits):
            alone = capture_ids(model, [short])[0]
            together = capture_ids(model, [short, long])[0]
        np.testing.assert_allclose(
            alone["self"].weights(2, 1), together["self"].weights(2, 1), atol=MODEL
        )


def test_generation_with_a_cache_is_edited_too(gpt: Model) -> None:
    prompt = Encoded(random_ids(gpt, 6))
    edits = [Edit("previous", HEAD), Edit("zero", Head("self", 0, 1))]
    edits.append(Edit("hide", Head("self", 2, 3), token=4))
    with edited(gpt, edits):
        steps = list(generate_ids(gpt, prompt, max_new_tokens=4))
        whole = (*prompt.ids, *(step.token.id for step in steps[:-1]))
        stack = capture_ids(gpt, [Encoded(whole)])[0]["self"]
    for step in steps:
        row = step.rows["self"][1, 2]
        assert row[step.position - 1] == pytest.approx(1)
        expected = stack.weights(2, 3)[step.position, : step.position + 1]
        np.testing.assert_allclose(step.rows["self"][2, 3], expected, atol=MODEL)


def test_other_threads_and_other_models_are_untouched(
    gpt: Model, zoo: Callable[[str], Pair]
) -> None:
    ids = random_ids(gpt, TOKENS)
    before = fast_logits(gpt, ids, [])
    llama = zoo("llama").model
    other = fast_logits(llama, ids, [])
    outputs: list[Tensor] = []

    def run() -> None:
        with torch.inference_mode():
            outputs.append(gpt.network(torch.tensor([list(ids)])).logits[0])

    with edited(gpt, [Edit("zero", HEAD), Edit("first", HEAD)]):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        with torch.inference_mode():
            inside = gpt.network(torch.tensor([list(ids)])).logits[0]
            beside = llama.network(torch.tensor([list(ids)])).logits[0]
    assert torch.equal(outputs[0], before)
    assert torch.equal(beside, other)
    assert not torch.equal(inside, before)
    assert torch.equal(fast_logits(gpt, ids, []), before)


def test_blocks_can_be_nested(gpt: Model) -> None:
    ids = random_ids(gpt, TOKENS)
    one, two = Edit("zero", HEAD), Edit("first", Head("self", 0, 3))
    with edited(gpt, [one]):
        nested = fast_logits(gpt, ids, [two])
    torch.testing.assert_close(nested, fast_logits(gpt, ids, [one, two]))


def test_the_effect_is_that_of_two_runs(gpt: Model) -> None:
    ids = random_ids(gpt, TOKENS)
    first, second = (fast_logits(gpt, ids, edits).double() for edits in ([], EDITS["several"]))
    first, second = first.log_softmax(-1), second.log_softmax(-1)
    effect = effect_of(gpt, Encoded(ids), EDITS["several"], position=4, candidates=3)
    divergence = (first.exp() * (first - second)).sum(-1)
    np.testing.assert_allclose(effect.divergence, divergence, atol=MODEL)
    for place in range(TOKENS - 1):
        assert effect.before[place] == pytest.approx(
            -float(first[place, ids[place + 1]]), abs=MODEL
        )
        assert effect.after[place] == pytest.approx(
            -float(second[place, ids[place + 1]]), abs=MODEL
        )
    assert np.isnan(effect.after[-1])
    best = {*first[4].topk(3).indices.tolist(), *second[4].topk(3).indices.tolist()}
    assert {one.id for one in effect.candidates} == best
    nothing = effect_of(gpt, Encoded(ids), [])
    assert not nothing.divergence.any()


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda: Edit("other", HEAD), "an edit is one of"),
        (lambda: Edit("zero"), "needs a head"),
        (lambda: Edit("hide"), "0 or more"),
        (lambda: Edit("hide", token=-1), "0 or more"),
        (lambda: Edit("scale", HEAD, factor=float("nan")), "finite"),
        (lambda: Edit("rows", HEAD), "at least one row"),
        (lambda: paint(HEAD, {1: (0.5, 0.4)}), "sum to 0.9"),
        (lambda: paint(HEAD, {1: (1.5, -0.5)}), "numbers from 0 on"),
        (lambda: paint(HEAD, {-1: (1.0,)}), "0 or more"),
    ],
)
def test_edits_that_say_nothing_are_refused(edit: Callable[[], Edit], words: str) -> None:
    with pytest.raises(InputError, match=words):
        edit()


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (Edit("zero", Head("self", 7, 0)), "has no head L7"),
        (Edit("zero", Head("cross", 0, 0)), "has no head cross"),
        (Edit("hide", token=0, kind="cross"), "has no cross attention"),
        (Edit("hide", token=TOKENS), "the text has 9 tokens"),
        (paint(HEAD, {1: (0.0, 0.0, 1.0)}), "query 1 cannot see key 2"),
        (paint(HEAD, {TOKENS: (1.0,)}), "the text has 9 tokens"),
    ],
)
def test_edits_that_do_not_fit_get_a_sentence(edit: Edit, words: str, gpt: Model) -> None:
    with pytest.raises(InputError, match=words):
        fast_logits(gpt, random_ids(gpt, TOKENS), [edit])


def test_a_row_on_hidden_tokens_only_is_refused(gpt: Model) -> None:
    with pytest.raises(InputError, match="hidden tokens only"):
        fast_logits(gpt, random_ids(gpt, TOKENS), [Edit("previous", HEAD), Edit("hide", token=4)])


def test_windows_sinks_and_empty_sources_get_a_sentence(
    t5: Model, zoo: Callable[[str], Pair]
) -> None:
    mistral = zoo("mistral").model
    with pytest.raises(InputError, match="cannot see key 0"):
        fast_logits(mistral, random_ids(mistral, TOKENS), [Edit("first", HEAD)])
    sinks = zoo("gpt_oss").model
    with pytest.raises(InputError, match="learned sink"):
        fast_logits(sinks, random_ids(sinks, TOKENS), [paint(HEAD, PAINTED)])
    weights = _capture(sinks, random_ids(sinks, TOKENS), [Edit("previous", HEAD)])
    np.testing.assert_allclose(np.diagonal(weights["self"].weights(1, 2), -1), 1, atol=MODEL)
    with (
        pytest.raises(InputError, match="previous token"),
        edited(t5, [Edit("previous", Head("cross", 0, 0))]),
    ):
        pass
    everything = [Edit("hide", token=place, kind="cross") for place in range(3)]
    with pytest.raises(InputError, match="no query sees a key"), edited(t5, everything):
        capture_ids(t5, [Encoded(random_ids(t5, 3), target=(0,))])
