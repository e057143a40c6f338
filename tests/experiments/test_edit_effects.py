"""Effects of edits: masked tokens, several lists at once, and another run to compare with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import attnviz
from attnviz import Edit
from attnviz.captures.forward_pass import Encoded
from attnviz.errors import InputError
from attnviz.experiments.edits.edit_effects import effect_of, effects_of
from attnviz.experiments.edits.heads_off import divergence_without_heads
from attnviz.experiments.edits.masked_tokens import mask_id, mask_tokens
from attnviz.models import encode
from attnviz.types import Head
from tests.bounds import MODEL_NATS
from tests.zoo import random_ids

if TYPE_CHECKING:
    from attnviz import Model
    from tests.zoo import Pair

TOKENS = 8
FIRST, SECOND = Edit("zero", Head("self", 0, 1)), Edit("first", Head("self", 1, 2))


def test_masked_tokens_equal_a_text_with_the_mask_written_in() -> None:
    model = attnviz.load("bert-classroom")
    seen = encode(model, "The cat drank the milk and then it went to sleep.")
    gap = encode(model, "The cat drank the [MASK] and then it went to sleep.")
    (place,) = [at for at, one in enumerate(gap.ids) if one == mask_id(model)]
    assert mask_tokens(model, seen, [place]).ids == gap.ids
    effect = effect_of(model, seen, [], masked=[place], position=place)
    with torch.inference_mode():
        tables = [
            model.network(
                input_ids=torch.tensor([one.ids]), token_type_ids=torch.tensor([one.segments])
            ).logits[0]
            for one in (seen, gap)
        ]
    before, after = (one.double().log_softmax(-1) for one in tables)
    for one in effect.candidates:
        assert one.before == pytest.approx(float(before[place, one.id].exp()), abs=MODEL_NATS)
        assert one.after == pytest.approx(float(after[place, one.id].exp()), abs=MODEL_NATS)
    word = seen.ids[place]
    assert effect.before[place] == pytest.approx(-float(before[place, word]), abs=MODEL_NATS)
    assert effect.after[place] == pytest.approx(-float(after[place, word]), abs=MODEL_NATS)
    assert np.flatnonzero(np.isfinite(effect.after)).tolist() == [place]


def test_masks_that_do_not_fit_get_a_sentence(gpt: Model) -> None:
    bert = attnviz.load("bert-classroom")
    text = encode(bert, "The cat sat.")
    with pytest.raises(InputError, match="no token 99 to mask"):
        effect_of(bert, text, [], masked=[99])
    with pytest.raises(InputError, match="fills in no masked tokens"):
        effect_of(gpt, Encoded(random_ids(gpt, TOKENS)), [], masked=[1])
    assert mask_id(gpt) is None


def test_several_lists_equal_one_run_each(gpt: Model) -> None:
    ids = Encoded(random_ids(gpt, TOKENS))
    lists = [[FIRST], [SECOND], [FIRST, SECOND], []]
    seen: list[tuple[int, int]] = []
    effects = effects_of(
        gpt, ids, lists, position=3, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for edits, effect in zip(lists, effects, strict=True):
        alone = effect_of(gpt, ids, edits, position=3)
        np.testing.assert_array_equal(effect.divergence, alone.divergence)
        np.testing.assert_array_equal(effect.after, alone.after)
        assert effect.candidates == alone.candidates


def test_the_run_before_may_have_edits_too(gpt: Model) -> None:
    ids = Encoded(random_ids(gpt, TOKENS))
    whole = effect_of(gpt, ids, [FIRST, SECOND])
    last = effect_of(gpt, ids, [FIRST, SECOND], before=[FIRST])
    np.testing.assert_array_equal(last.before, effect_of(gpt, ids, [FIRST]).after)
    np.testing.assert_array_equal(last.after, whole.after)
    assert not effect_of(gpt, ids, [FIRST], before=[FIRST]).divergence.any()
    assert np.abs(last.divergence - whole.divergence).max() > MODEL_NATS


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5", "bert"])
@pytest.mark.parametrize("copies", [1, 5])
def test_many_heads_at_once_equal_one_run_each(
    name: str, copies: int, zoo: Callable[[str], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attnviz.experiments.edits.heads_off.MOST_COPIES", copies)
    model = zoo(name).model
    target = (0, *random_ids(model, 4)) if name == "t5" else None
    encoded = Encoded(random_ids(model, TOKENS), target=target)
    seen: list[tuple[int, int]] = []
    tables = divergence_without_heads(
        model, encoded, progress=lambda done, total: seen.append((done, total))
    )
    count = sum(layers * heads for layers, heads in model.info.heads.values())
    assert seen[-1] == (count, count)
    for kind, (layers, heads) in model.info.heads.items():
        for layer in range(layers):
            for head in range(heads):
                alone = effect_of(model, encoded, [Edit("zero", Head(kind, layer, head))])
                np.testing.assert_allclose(
                    tables[kind][layer, head], alone.divergence, atol=MODEL_NATS, rtol=1e-3
                )
        assert tables[kind].max() > MODEL_NATS


def test_a_cancelled_measurement_ends(gpt: Model) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Stop

    run: Callable[[], object] = lambda: effects_of(  # noqa: E731
        gpt, Encoded(random_ids(gpt, TOKENS)), [[FIRST], [SECOND]], progress=stop
    )
    with pytest.raises(Stop):
        run()
