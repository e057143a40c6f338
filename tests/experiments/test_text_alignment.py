"""Texts of unequal length: their alignment against brute force, patches against plain hooks."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import combinations, count
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers.models.llama import modeling_llama

from attnviz.captures.forward_pass import Encoded
from attnviz.errors import InputError
from attnviz.experiments.patching.head_patches import patch_heads, patch_together
from attnviz.experiments.patching.stream_patches import patch_stream
from attnviz.experiments.patching.text_alignment import align
from attnviz.experiments.patching.text_pair import LogitDifference, TextPair
from attnviz.types import Head
from tests.bounds import MODEL_NATS
from tests.experiments.plain_hooks import kept_parts, patched_by_hooks
from tests.experiments.slow_attention import slow_model
from tests.experiments.test_patching import DIFFERENCE, MODELS, all_heads
from tests.zoo import inputs_of, random_ids

if TYPE_CHECKING:
    from attnviz import Model
    from tests.zoo import Pair


def longest(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the length of the longest common subsequence: every subsequence is tried."""
    for size in range(min(len(one), len(other)), 0, -1):
        mine = {tuple(one[at] for at in each) for each in combinations(range(len(one)), size)}
        if any(
            tuple(other[at] for at in each) in mine
            for each in combinations(range(len(other)), size)
        ):
            return size
    return 0


def test_alignments_hold_as_many_common_tokens_as_brute_force_finds() -> None:
    draw = random.Random(3)
    partial = 0
    for _ in range(300):
        one, other = (
            tuple(draw.randrange(4) for _ in range(draw.randrange(1, 8))) for _ in range(2)
        )
        if len(one) == len(other):
            continue
        result = align(one, other)
        # Equal tokens before the last ones, which are partners in any case.
        common = [(i, j) for i, j in result.pairs[:-1] if one[i] == other[j]]
        assert len(common) == longest(one[:-1], other[:-1])
        assert result.pairs[-1] == (len(one) - 1, len(other) - 1)
        steps = np.diff(np.array(result.pairs), axis=0)
        assert (steps > 0).all()  # the order of both texts, each token once
        assert result.alone()[0] == tuple(
            at for at in range(len(one)) if at not in {i for i, _ in result.pairs}
        )
        assert not result.whole
        partial += bool(result.alone()[0] and result.alone()[1])
    assert partial > 10


def test_replaced_words_and_marked_ones_are_partners() -> None:
    # "the dog saw a cat" and "the old dog saw a man": cat and man stand in the same place.
    assert align((1, 2, 3, 4, 5), (1, 9, 2, 3, 4, 6)).pairs == (
        (0, 0), (1, 2), (2, 3), (3, 4), (4, 5),
    )  # fmt: skip
    # One token against two: none has a partner, unless it is marked.
    one, other = (1, 5, 4, 2), (1, 6, 7, 4, 2)
    assert align(one, other).alone() == ((1,), (1, 2))
    assert align(one, other, ((1, 2),)).alone() == ((), (1,))
    assert align(one, other, ((1, 2),)).partner(1) == 2
    assert align((1, 2, 3), (1, 3, 2)).whole  # equal lengths go position by position
    assert align((1, 2, 3), (1, 3, 2), ((1, 2),)).pairs == ((0, 0), (1, 2))
    with pytest.raises(InputError, match="same order in both texts: 1 belongs to 2 and 2 to 1"):
        align(one, other, ((1, 2), (2, 1)))
    with pytest.raises(InputError, match="no pair of tokens 9 and 0"):
        align(one, other, ((9, 0),))


def unequal(model: Model) -> TextPair:
    """Return two random texts of 7 and 9 tokens that end with equal ones; T5's targets too."""
    clean = random_ids(model, 7, 1)
    new = [token for token in random_ids(model, 12, 2) if token not in clean]
    corrupted = (*clean[:2], *new[:3], *clean[3:5], *clean[5:6], clean[6])
    assert len(corrupted) == len(clean) + 2
    if model.info.family != "encoder-decoder":
        return TextPair(Encoded(clean), Encoded(corrupted))
    target = random_ids(model, 4, 9)
    longer = (*target[:1], new[0], *target[1:])
    return TextPair(Encoded(clean, target=(0, *target)), Encoded(corrupted, target=(0, *longer)))


TEXTS = [(0, 0), (1, 1), (3, 5), (4, 6), (5, 7), (6, 8)]
"""Partners of the two texts of `unequal`."""

TARGETS = [(0, 0), (1, 1), (2, 3), (3, 4), (4, 5)]
"""Those of its targets."""

CASES = [(name, part) for name in MODELS for part in ("output", "query", "key", "value")]


@pytest.mark.parametrize(
    ("name", "part"), [one for one in CASES if one not in (("llama", "query"), ("llama", "key"))]
)
def test_patches_at_partners_equal_plain_hooks(
    name: str, part: Any, zoo: Callable[[str], Pair]
) -> None:
    models = zoo(name)
    pair = unequal(models.model)
    clean, corrupted = (inputs_of(models.model, [one]) for one in (pair.clean, pair.corrupted))
    effects = patch_heads(models.model, pair, DIFFERENCE, part)
    config = models.eager.config
    for kind in models.model.info.heads:
        behind = kind == "decoder" or (kind == "cross" and part in ("output", "query"))
        layers, heads = models.model.info.heads[kind]
        width = config.num_heads * config.d_kv if name == "t5" else config.hidden_size
        sizes = (width // heads, heads // models.model.info.key_heads[kind], width)
        with torch.inference_mode():
            kept = kept_parts(models.eager, name, kind, part, clean)
        assert len(kept) == layers
        for layer in range(layers):
            for head in range(heads):
                logits = patched_by_hooks(
                    *(models.eager, name, Head(kind, layer, head), part, kept, corrupted, sizes),
                    TARGETS if behind else TEXTS,
                )
                expected = float(logits[0, -1, 9] - logits[0, -1, 12])
                assert abs(effects.patched[kind][layer, head] - expected) < MODEL_NATS
    moved = max(np.abs(one - effects.corrupted).max() for one in effects.patched.values())
    assert moved > 10 * MODEL_NATS


@pytest.mark.parametrize("part", ["query", "key"])
def test_rotated_queries_and_keys_keep_the_rotation_of_their_clean_position(
    part: str, zoo: Callable[[str], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = zoo("llama")
    pair = unequal(models.model)
    clean, corrupted = (inputs_of(models.model, [one]) for one in (pair.clean, pair.corrupted))
    effects = patch_heads(models.model, pair, DIFFERENCE, part)  # type: ignore[arg-type]
    plain, side = modeling_llama.apply_rotary_pos_emb, ("query", "key").index(part)
    kept: list[Tensor] = []

    def keep(*arguments: Any, **options: Any) -> Any:
        rotated = plain(*arguments, **options)
        kept.append(rotated[side].clone())
        return rotated

    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", keep)
    with torch.inference_mode():
        models.eager(**clean)
    for layer in range(3):
        for head in range(4):
            calls = count()

            def put_in(
                *arguments: Any, at: Any = (layer, head), calls: Any = calls, **options: Any
            ) -> Any:
                rotated = plain(*arguments, **options)
                if next(calls) == at[0]:
                    place = at[1] if part == "query" else at[1] // 2  # two heads share keys
                    for one, other in TEXTS:
                        rotated[side][:, place, other] = kept[at[0]][:, place, one]
                return rotated

            monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", put_in)
            with torch.inference_mode():
                logits = models.eager(**corrupted).logits[0, -1]
            expected = float(logits[9] - logits[12])
            assert abs(effects.patched["self"][layer, head] - expected) < MODEL_NATS
    assert np.abs(effects.patched["self"] - effects.corrupted).max() > 10 * MODEL_NATS


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "mistral"])
def test_patterns_between_partners_equal_slow_loops(name: str, zoo: Callable[[str], Pair]) -> None:
    models = zoo(name)
    pair = unequal(models.model)
    effects = patch_heads(models.model, pair, DIFFERENCE, "pattern")
    partners = {0: 0, 1: 1, 5: 3, 6: 4, 7: 5, 8: 6}  # of the corrupted text in the clean one
    clean, corrupted = (inputs_of(models.model, [one]) for one in (pair.clean, pair.corrupted))
    with torch.inference_mode():
        weights = models.eager(**clean, output_attentions=True).attentions
        others = models.eager(**corrupted, output_attentions=True).attentions
    for head in (Head("self", 0, 1), Head("self", 1, 3), Head("self", 2, 0)):

        def row(layer: int, at: int, query: int, scores: Tensor, head: Head = head) -> Tensor:
            plain = others[layer][0, at, query].double()
            hidden = plain == 0
            if (layer, at) != (head.layer, head.head) or query not in partners:
                # Keys that the model hides have the weight 0; all others come from the scores.
                return scores.masked_fill(hidden, -torch.inf).softmax(-1)
            result, carried = plain.clone(), {}
            for key, partner in partners.items():
                if not hidden[key]:
                    carried[key] = float(weights[layer][0, at, partners[query], partner])
            room = sum(float(plain[key]) for key in carried)
            for key, weight in carried.items():
                result[key] = weight * room / sum(carried.values())
            assert float(result.sum()) == pytest.approx(1, abs=1e-5)
            return result

        with torch.inference_mode(), slow_model(models.eager, row) as network:
            logits = network(corrupted["input_ids"]).logits[0, -1]
        expected = float(logits[9] - logits[12])
        assert abs(effects.patched["self"][head.layer, head.head] - expected) < MODEL_NATS
    assert np.abs(effects.patched["self"] - effects.corrupted).max() > 10 * MODEL_NATS


@pytest.mark.parametrize("name", MODELS)
def test_nothing_patched_changes_nothing_and_equal_texts_change_nothing(
    name: str, zoo: Callable[[str], Pair]
) -> None:
    model = zoo(name).model
    pair = unequal(model)
    effects = patch_heads(model, pair, DIFFERENCE)
    assert abs(effects.clean - effects.corrupted) > 10 * MODEL_NATS
    assert patch_together(model, pair, DIFFERENCE, []) == pytest.approx(effects.corrupted, abs=1e-6)
    restored = patch_together(model, pair, DIFFERENCE, all_heads(model))
    # The last token is the same. GPT-2 and BERT add a vector of its position, which is not.
    assert (abs(restored - effects.clean) < MODEL_NATS) == (name in ("llama", "t5"))
    same = TextPair(pair.clean, pair.clean, ((2, 2),))  # marked: aligned, not by position
    assert same.texts().whole
    for part in ("output", "query", "key", "value", "pattern"):
        together = patch_together(model, same, DIFFERENCE, all_heads(model), part)  # type: ignore[arg-type]
        assert together == pytest.approx(effects.clean, abs=MODEL_NATS)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_streams_at_partners_equal_plain_hooks(name: str, zoo: Callable[[str], Pair]) -> None:
    models = zoo(name)
    pair = unequal(models.model)
    effects = patch_stream(models.model, pair, DIFFERENCE)
    clean, corrupted = (inputs_of(models.model, [one]) for one in (pair.clean, pair.corrupted))
    path = {"gpt2": "transformer.h.{}", "llama": "model.layers.{}"}[name]
    assert np.isnan(effects.patched[:, 2]).all()  # this token has no partner
    for layer in range(len(effects.patched)):
        module = models.eager.get_submodule(path.format(layer))
        kept: list[Tensor] = []
        handle = module.register_forward_hook(
            lambda one, given, output, kept=kept: kept.append(
                output if isinstance(output, Tensor) else output[0]
            )
        )
        with torch.inference_mode():
            models.eager(**clean)
        handle.remove()
        for moved in [[one] for one in TEXTS] + [TEXTS]:

            def change(
                one: Any, given: Any, output: Any, moved: Any = moved, kept: list[Tensor] = kept
            ) -> Any:
                stream = (output if isinstance(output, Tensor) else output[0]).clone()
                for place, partner in moved:
                    stream[:, partner] = kept[0][:, place]
                return stream if isinstance(output, Tensor) else (stream, *output[1:])

            handle = module.register_forward_hook(change)
            with torch.inference_mode():
                logits = models.eager(**corrupted).logits[0, -1]
            handle.remove()
            expected = float(logits[9] - logits[12])
            mine = effects.whole[layer] if moved == TEXTS else effects.patched[layer, moved[0][0]]
            assert abs(mine - expected) < MODEL_NATS
    assert abs(effects.whole[-1] - effects.clean) < MODEL_NATS


def test_positions_are_those_of_the_clean_text(zoo: Callable[[str], Pair]) -> None:
    model = zoo("bert").model
    pair = unequal(model)
    at = LogitDifference(9, 12, 4)
    assert pair.in_corrupted(at).position == 6
    assert pair.in_corrupted(DIFFERENCE).position == -1
    last, same = LogitDifference(9, 12, 6), patch_heads(model, pair, DIFFERENCE)
    assert patch_heads(model, pair, last).corrupted == pytest.approx(same.corrupted, abs=1e-6)
    with pytest.raises(InputError, match="position 2 of the clean text has no partner"):
        patch_heads(model, pair, LogitDifference(9, 12, 2))
    assert pair.differing() == (2,)
