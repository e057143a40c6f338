"""Memory of a capture is linear in the length of the text: no n x n tensor is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import torch

from attnviz.attention import Recorder
from attnviz.captures import forward_pass
from attnviz.captures.capture_record import capture_of
from attnviz.captures.forward_pass import Capture, Encoded, capture_ids
from attnviz.models import Model
from tests.zoo import Pair, random_texts


def tensors(thing: Any) -> Iterator[torch.Tensor | np.ndarray]:
    """Yield all tensors and arrays of nested records."""
    if isinstance(thing, torch.Tensor | np.ndarray):
        yield thing
    elif is_dataclass(thing):
        for field in fields(thing):
            yield from tensors(getattr(thing, field.name))
    elif isinstance(thing, tuple | list):
        for one in thing:
            yield from tensors(one)
    elif isinstance(thing, dict):
        yield from tensors(list(thing.values()))


def numbers_held(pair: Pair, length: int, keep: str) -> int:
    texts = random_texts(pair.model, (length, length // 2))
    one = capture_ids(pair.model, texts, keep=keep, predict=False)[0]
    return sum(int(np.prod(part.shape)) for part in tensors(one.stacks))


@pytest.mark.parametrize("keep", ["qkv", "statistics"])
@pytest.mark.parametrize("name", ["gpt2", "bert", "t5", "mistral", "gemma2", "modernbert"])
def test_twice_the_text_takes_twice_the_memory(
    zoo: Callable[[str], Pair], name: str, keep: str
) -> None:
    short, long = (numbers_held(zoo(name), length, keep) for length in (64, 128))
    assert 1.9 < long / short < 2.1


def test_statistics_are_a_fraction_of_the_vectors(zoo: Callable[[str], Pair]) -> None:
    assert numbers_held(zoo("gpt2"), 64, "statistics") < 0.6 * numbers_held(zoo("gpt2"), 64, "qkv")


@pytest.mark.parametrize("name", ["gpt2", "bert", "mistral", "phi3", "gpt_neox", "t5"])
def test_single_text_is_copied_once_and_without_its_base(
    zoo: Callable[[str], Pair], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queries, keys and values are views of one product, which must not stay in memory."""
    pair = zoo(name)
    recorders: list[Recorder] = []

    def spy(model: Model, one: Encoded, number: int, recorder: Recorder, **more: Any) -> Capture:
        recorders.append(recorder)
        return capture_of(model, one, number, recorder, **more)

    monkeypatch.setattr(forward_pass, "capture_of", spy)
    one = capture_ids(pair.model, random_texts(pair.model, (40,)), predict=False)[0]
    for kind in one:
        for layer, record in zip(one[kind].layers, recorders[0].layers[kind], strict=True):
            for part in ("query", "key", "value"):
                kept, recorded = getattr(layer.vectors, part), getattr(record.vectors, part)
                assert kept.data_ptr() == recorded.data_ptr()
                assert kept.untyped_storage().nbytes() == kept.nbytes
