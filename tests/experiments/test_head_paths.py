"""Path patching equals plain hooks on the library's models."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor

import attnviz
from attnviz.captures.forward_pass import Encoded, encode
from attnviz.errors import InputError
from attnviz.experiments.patching.head_paths import patch_paths, senders_of
from attnviz.experiments.patching.text_pair import LogitDifference, TextPair, word_id
from attnviz.types import Head
from tests.bounds import MODEL
from tests.experiments.plain_hooks import PROJECTIONS, columns, hooked, kept_parts
from tests.experiments.test_patching import DIFFERENCE, MODELS, pair_of
from tests.zoo import inputs_of, random_ids

if TYPE_CHECKING:
    from attnviz import Model
    from tests.zoo import Pair

RECEIVERS = {
    "gpt2": [Head("self", 1, 2)],
    "llama": [Head("self", 1, 3)],
    "bert": [Head("self", 1, 1)],
    "t5": [Head("encoder", 1, 1), Head("decoder", 1, 2), Head("cross", 1, 3)],
}


def outputs_of(models: Pair, name: str, pair: TextPair) -> dict[str, list[list[Tensor]]]:
    """Return what all heads of a kind write, by layer, for the clean and the corrupted text."""
    texts = [inputs_of(models.model, [one]) for one in (pair.clean, pair.corrupted)]
    return {
        kind: [kept_parts(models.eager, name, kind, "output", one) for one in texts]
        for kind in models.model.info.heads
    }


def by_hooks(
    models: Pair,
    name: str,
    pair: TextPair,
    outputs: dict[str, list[list[Tensor]]],
    sender: Head,
    receiver: Head,
    reads: str,
) -> Tensor:
    """Return the logits of the last of three runs, each with hooks on the library's modules."""
    network, info = models.eager, models.model.info
    corrupted = inputs_of(models.model, [pair.corrupted])
    heads = info.heads[receiver.kind][1]
    config = network.config
    width = config.num_heads * config.d_kv if name == "t5" else config.hidden_size
    dim, group = width // heads, heads // info.key_heads[receiver.kind]
    kept: list[Tensor] = []

    def keep(numbers: Tensor) -> Tensor:
        kept.append(numbers.clone())
        return numbers

    def fixed(numbers: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda computed: numbers

    module = PROJECTIONS[name, receiver.kind][reads].format(receiver.layer)
    with torch.inference_mode(), ExitStack() as hooks:
        for kind, (given, theirs) in outputs.items():
            frozen = [one.clone() for one in theirs]
            if kind == sender.kind:
                where = columns(name, "output", sender.head, dim, 1, width)
                frozen[sender.layer][..., where] = given[sender.layer][..., where]
            for layer, numbers in enumerate(frozen):
                place = PROJECTIONS[name, kind]["output"].format(layer)
                hooks.enter_context(hooked(network, place, "output", fixed(numbers)))
        hooks.enter_context(hooked(network, module, reads, keep))
        network(**corrupted)
    where = columns(name, reads, receiver.head, dim, group, width)

    def put(numbers: Tensor) -> Tensor:
        changed = numbers.clone()
        changed[..., where] = kept[0][..., where]
        return changed

    with torch.inference_mode(), hooked(network, module, reads, put):
        logits: Tensor = network(**corrupted).logits
    return logits


@pytest.mark.parametrize("reads", ["query", "key", "value"])
@pytest.mark.parametrize("name", MODELS)
def test_paths_equal_plain_hooks(name: str, reads: Any, zoo: Callable[[str], Pair]) -> None:
    models = zoo(name)
    pair = pair_of(models.model)
    outputs = outputs_of(models, name, pair)
    for receiver in RECEIVERS[name]:
        paths = patch_paths(models.model, pair, DIFFERENCE, receiver, reads)
        measured = 0
        for kind, table in paths.patched.items():
            for layer, head in zip(*np.nonzero(np.isfinite(table)), strict=True):
                sender = Head(kind, int(layer), int(head))
                logits = by_hooks(models, name, pair, outputs, sender, receiver, reads)
                assert table[layer, head] == pytest.approx(
                    float(DIFFERENCE.of(logits)[0]), abs=MODEL
                ), sender
                measured += 1
        assert 0 < measured <= senders_of(models.model, receiver)


def test_some_path_has_an_effect_and_heads_at_the_end_have_none(
    zoo: Callable[[str], Pair],
) -> None:
    models = zoo("t5")
    pair = pair_of(models.model)
    paths = patch_paths(models.model, pair, DIFFERENCE, Head("cross", 1, 3), "key")
    # Into the keys of cross-attention leads the encoder alone, and above it nothing is sent.
    assert np.abs(paths.patched["encoder"] - paths.corrupted).max() > MODEL
    assert np.nanmax(np.abs(paths.patched["decoder"] - paths.corrupted)) < MODEL
    assert np.isnan(paths.patched["cross"][1:]).all()
    assert np.isfinite(paths.patched["cross"][0]).all()


def test_a_head_of_the_first_layer_has_no_sender(gpt: Model) -> None:
    progress: list[float] = []
    paths = patch_paths(
        gpt, pair_of(gpt), DIFFERENCE, Head("self", 0, 0), "value", progress=progress.append
    )
    assert np.isnan(paths.patched["self"]).all()
    assert senders_of(gpt, Head("self", 0, 0)) == 0
    assert progress == []


def test_of_texts_of_unequal_length_partners_are_put_in(gpt: Model) -> None:
    """A sender that differs at tokens without a partner alone passes nothing on."""
    ids = random_ids(gpt, 6, 4)
    same = TextPair(Encoded(ids), Encoded((*ids, *random_ids(gpt, 2, 5))))
    paths = patch_paths(gpt, same, LogitDifference(9, 12, position=3), Head("self", 1, 0), "key")
    assert np.nanmax(np.abs(paths.patched["self"] - paths.corrupted)) < MODEL


def test_the_known_circuit_of_the_classroom_model() -> None:
    """The previous-token head reaches the induction heads through their keys, not their queries."""
    model = attnviz.load("gpt-classroom")
    pair = TextPair(
        encode(model, "The red dog saw the blue bird. The red"),
        encode(model, "The blue dog saw the red bird. The red"),
    )
    difference = LogitDifference(*(word_id(model, word)[0] for word in ("dog", "bird")))
    progress: list[float] = []
    shares = {
        reads: patch_paths(
            model, pair, difference, Head("self", 1, 3), reads, progress=progress.append
        ).share("self")
        for reads in ("query", "key", "value")
    }
    assert int(np.nanargmax(shares["key"])) == 7
    assert shares["key"][0, 7] > 0.1
    assert abs(shares["query"][0, 7]) < shares["key"][0, 7] / 5
    assert progress == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("receiver", "reads", "why"),
    [
        (Head("self", 1, 0), "pattern", "a head reads into its"),
        (Head("self", 9, 0), "key", "9"),
        (Head("cross", 0, 0), "key", "cross"),
    ],
)
def test_what_does_not_exist_is_refused(gpt: Model, receiver: Head, reads: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        patch_paths(gpt, pair_of(gpt), DIFFERENCE, receiver, reads)
