"""Edits of encoder, decoder and cross-attention equal slow loops on the library's T5."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from attnviz import Edit
from attnviz.captures.forward_pass import Encoded
from attnviz.experiments.edits.edit_effects import effect_of
from attnviz.experiments.edits.edit_rules import paint
from attnviz.types import Head
from tests.bounds import MODEL_NATS
from tests.experiments.slow_attention import slow_encoder_decoder
from tests.zoo import random_ids

if TYPE_CHECKING:
    from tests.zoo import Pair

SOURCE, TARGET = 6, 5
LAYER = 1
EDITS: dict[str, list[Edit]] = {
    "encoder off": [Edit("zero", Head("encoder", LAYER, 2))],
    "encoder mean": [Edit("mean", Head("encoder", LAYER, 2))],
    "decoder mean": [Edit("mean", Head("decoder", LAYER, 1))],
    "cross mean": [Edit("mean", Head("cross", LAYER, 1))],
    "decoder scaled": [Edit("scale", Head("decoder", LAYER, 0), factor=-2)],
    "cross off": [Edit("zero", Head("cross", LAYER, 3))],
    "encoder previous": [Edit("previous", Head("encoder", 0, 1))],
    "decoder previous": [Edit("previous", Head("decoder", LAYER, 1))],
    "cross first": [Edit("first", Head("cross", 0, 2))],
    "cross equal": [Edit("uniform", Head("cross", LAYER, 0))],
    "decoder equal": [Edit("uniform", Head("decoder", 0, 0))],
    "cross row": [paint(Head("cross", LAYER, 0), {2: (0.25, 0.0, 0.75)})],
    "decoder row": [paint(Head("decoder", 0, 3), {3: (0.5, 0.5)})],
    "source token hidden": [Edit("hide", token=2, kind="cross")],
    "encoder token hidden": [Edit("hide", Head("encoder", 0, 1), token=4)],
    "decoder token hidden": [Edit("hide", token=1, kind="decoder")],
    "several": [
        Edit("hide", token=0, kind="cross"),
        Edit("zero", Head("decoder", 0, 1)),
        Edit("first", Head("encoder", LAYER, 3)),
        Edit("scale", Head("cross", LAYER, 2), factor=3),
    ],
}


def slow_predictions(pair: Pair, encoded: Encoded, edits: Sequence[Edit]) -> Tensor:
    """Return ln of the probabilities of the library's T5, with edits made by loops."""

    def row(kind: str, layer: int, head: int, query: int, scores: Tensor) -> Tensor:
        keys = query + 1 if kind == "decoder" else len(scores)
        weights = [float((one - scores[:keys].max()).exp()) for one in scores[:keys]]
        mine = [edit for edit in edits if edit.head == Head(kind, layer, head)]  # type: ignore[arg-type]
        for edit in mine:
            if edit.action == "uniform":
                weights = [1.0] * keys
            if edit.action == "first":
                weights = [1.0] + [0.0] * (keys - 1)
            if edit.action == "previous":
                weights = [float(key == max(query - 1, 0)) for key in range(keys)]
            if edit.action == "rows" and query in dict(edit.rows):
                given = dict(edit.rows)[query]
                weights = [given[key] if key < len(given) else 0.0 for key in range(keys)]
        for edit in edits:
            here = edit in mine or (edit.head is None and edit.kind == kind)
            itself = kind != "cross" and edit.token == query
            if edit.action == "hide" and here and not itself and (edit.token or 0) < keys:
                weights[edit.token or 0] = 0.0
        shares = torch.zeros_like(scores)
        for key, weight in enumerate(weights):
            shares[key] = weight / sum(weights)
        return shares

    def change(kind: str, layer: int, head: int, output: Tensor) -> Tensor:
        for edit in edits:
            if edit.head == Head(kind, layer, head):  # type: ignore[arg-type]
                if edit.action == "zero":
                    output = torch.zeros_like(output)
                if edit.action == "mean":
                    output = (sum(output) / len(output)).expand_as(output)
                if edit.action == "scale":
                    output = output * edit.factor
        return output

    assert encoded.target is not None
    ids, target = (torch.tensor([list(one)]) for one in (encoded.ids, encoded.target))
    with torch.inference_mode(), slow_encoder_decoder(pair.eager, row, change) as network:
        logits: Tensor = network(input_ids=ids, decoder_input_ids=target).logits[0]
    return logits.double().log_softmax(-1)


@pytest.fixture(scope="module")
def encoded(zoo: Callable[[str], Pair]) -> Encoded:
    """Return a source, a target that begins with the start token, and its end."""
    model = zoo("t5").model
    return Encoded(random_ids(model, SOURCE), target=(0, *random_ids(model, TARGET - 1)), closing=1)


@pytest.mark.parametrize("name", EDITS)
def test_effects_equal_slow_loops_on_the_library_s_t5(
    name: str, encoded: Encoded, zoo: Callable[[str], Pair]
) -> None:
    pair = zoo("t5")
    before, after = (slow_predictions(pair, encoded, edits) for edits in ([], EDITS[name]))
    effect = effect_of(pair.model, encoded, EDITS[name], position=2)
    divergence = (before.exp() * (before - after)).sum(-1)
    largest = float((before - after).abs().max())
    assert largest > 10 * MODEL_NATS  # the edit has an effect
    torch.testing.assert_close(
        torch.tensor(effect.divergence), divergence, atol=MODEL_NATS, rtol=1e-3
    )
    assert encoded.target is not None
    came = [*encoded.target[1:], 1]
    for place, word in enumerate(came):
        assert effect.before[place] == pytest.approx(-float(before[place, word]), abs=MODEL_NATS)
        assert effect.after[place] == pytest.approx(-float(after[place, word]), abs=MODEL_NATS)
    for one in effect.candidates:
        assert one.after == pytest.approx(float(after[2, one.id].exp()), abs=MODEL_NATS)
