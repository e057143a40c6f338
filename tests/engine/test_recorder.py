"""Listeners: one per context, none after a capture."""

from __future__ import annotations

import contextvars
import threading

import numpy as np
import pytest
import torch

from attnviz import Model, capture
from attnviz.attention import Recorder, listening
from attnviz.attention.recorder import Listener, current
from attnviz.captures.forward_pass import Encoded, capture_ids
from attnviz.errors import InputError
from tests.zoo import random_ids


def empty() -> Recorder:
    return Recorder({}, {}, {})


def heard_by() -> Listener:
    heard = current()
    assert heard is not None
    return heard[0]


def test_no_listener_after_a_capture(gpt: Model) -> None:
    capture(gpt, "The cat")
    assert current() is None


def test_no_listener_after_a_failure(gpt: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*unused: object, **options: object) -> None:
        assert current() is not None
        raise RuntimeError("out of memory")

    monkeypatch.setattr(type(gpt.network), "forward", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        capture(gpt, "The cat")
    assert current() is None


def test_listeners_nest() -> None:
    outer, inner = empty(), empty()
    with listening(outer):
        with listening(inner):
            assert heard_by() is inner
        assert heard_by() is outer


def test_a_listener_is_notified_in_one_context_only() -> None:
    seen: list[object] = []
    with listening(empty()):
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
        contextvars.Context().run(lambda: seen.append(current()))
    assert seen == [None, None]


def test_modules_of_another_model_are_not_recorded(gpt: Model, bert: Model) -> None:
    recorder = Recorder(gpt.sites.kinds, gpt.sites.names, {})
    with torch.inference_mode(), listening(recorder):
        bert.network(torch.tensor([random_ids(bert, 4)]))
        assert recorder.layers == {}
        gpt.network(torch.tensor([random_ids(gpt, 4)]))
    assert len(recorder.layers["self"]) == 3


def test_the_layers_are_named_in_the_order_they_run(gpt: Model, t5: Model) -> None:
    names = [layer.module_name for layer in capture(gpt, "The cat")["self"].layers]
    assert names == [f"transformer.h.{number}.attn" for number in range(3)]
    cross = [layer.module_name for layer in capture(t5, "cat", target="a")["cross"].layers]
    assert cross == [f"decoder.block.{n}.layer.1.EncDecAttention" for n in range(3)]


def test_unknown_keep_is_refused(gpt: Model) -> None:
    with pytest.raises(InputError, match="'qkv' or 'statistics', not 'everything'"):
        capture(gpt, "The cat", keep="everything")


def test_changing_results_does_not_change_the_capture(gpt: Model) -> None:
    stack = capture_ids(gpt, [Encoded(random_ids(gpt, 9))])[0]["self"]
    before = stack.weights(1, 1)
    for numbers in (
        *(stack.query(1, 1), stack.key(1, 1), stack.value(1, 1), stack.weights(1, 1)),
        *(stack.scores(1, 1), stack.pooled(1, 1), stack.statistic("entropy")),
    ):
        numbers[:] = 7.0
    for numbers in (stack.visible, stack.seen_by):
        with pytest.raises(ValueError, match="read-only"):
            numbers[:] = 7
    np.testing.assert_array_equal(stack.weights(1, 1), before)
    assert (stack.query(1, 1) != 7.0).any()


@pytest.mark.parametrize("name", ["gpt", "t5"])
def test_progress_is_called_once_per_layer(name: str, request: pytest.FixtureRequest) -> None:
    model: Model = request.getfixturevalue(name)
    target = "a cat" if model.info.family == "encoder-decoder" else None
    calls: list[tuple[int, int]] = []
    capture(model, "The cat", target=target, progress=lambda *now: calls.append(now))
    layers = sum(count for count, _ in model.info.heads.values())
    assert calls == [(done, layers) for done in range(1, layers + 1)]


def test_an_exception_of_progress_ends_the_pass(gpt: Model) -> None:
    class Left(Exception):
        pass

    def leave(done: int, layers: int) -> None:
        raise Left

    whole = capture(gpt, "The cat")
    with pytest.raises(Left):
        capture(gpt, "The cat", progress=leave)
    assert current() is None
    after = capture(gpt, "The cat")
    np.testing.assert_array_equal(after["self"].weights(0, 0), whole["self"].weights(0, 0))
