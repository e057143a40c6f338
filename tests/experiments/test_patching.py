"""Patched heads and streams equal plain hooks on the library's models."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor

import attnviz
from attnviz.captures.forward_pass import Encoded, encode
from attnviz.errors import InputError
from attnviz.experiments.patching.head_patches import patch_heads, patch_together
from attnviz.experiments.patching.stream_patches import patch_stream
from attnviz.experiments.patching.text_pair import LogitDifference, TextPair, likeliest
from attnviz.types import Head
from tests.bounds import MODEL, MODEL_NATS
from tests.experiments.plain_hooks import kept_parts, patched_by_hooks
from tests.experiments.slow_attention import slow_encoder_decoder, slow_model
from tests.zoo import inputs_of, random_ids

if TYPE_CHECKING:
    from attnviz import Model
    from tests.zoo import Pair

TOKENS = 7
DIFFERENCE = LogitDifference(9, 12)
MODELS = {
    "gpt2": ("self",),
    "llama": ("self",),
    "bert": ("self",),
    "t5": ("encoder", "decoder", "cross"),
}


def pair_of(model: Model) -> TextPair:
    """Return two random texts that end with equal tokens, with equal targets."""
    both = model.info.family == "encoder-decoder"
    target = (0, *random_ids(model, 3, 9)) if both else None
    clean, corrupted = (random_ids(model, TOKENS, seed) for seed in (1, 2))
    end = clean[-2:]
    return TextPair(Encoded(clean, target=target), Encoded((*corrupted[:-2], *end), target=target))


def all_heads(model: Model) -> list[Head]:
    """Return every head of a model."""
    return [
        Head(kind, layer, head)
        for kind, (layers, heads) in model.info.heads.items()
        for layer in range(layers)
        for head in range(heads)
    ]


@pytest.mark.parametrize("part", ["output", "query", "key", "value"])
@pytest.mark.parametrize("name", MODELS)
def test_patched_heads_equal_plain_hooks(name: str, part: Any, zoo: Callable[[str], Pair]) -> None:
    models = zoo(name)
    pair = pair_of(models.model)
    effects = patch_heads(models.model, pair, DIFFERENCE, part)
    clean, corrupted = (inputs_of(models.model, [one]) for one in (pair.clean, pair.corrupted))
    config = models.eager.config
    for kind in MODELS[name]:
        layers, heads = models.model.info.heads[kind]  # type: ignore[index]
        width = config.num_heads * config.d_kv if name == "t5" else config.hidden_size
        sizes = (width // heads, heads // models.model.info.key_heads[kind], width)  # type: ignore[index]
        with torch.inference_mode():
            kept = kept_parts(models.eager, name, kind, part, clean)
        assert len(kept) == layers
        for layer in range(layers):
            for head in range(heads):
                place = Head(kind, layer, head)  # type: ignore[arg-type]
                logits = patched_by_hooks(models.eager, name, place, part, kept, corrupted, sizes)
                expected = float(logits[0, -1, 9] - logits[0, -1, 12])
                assert abs(effects.patched[kind][layer, head] - expected) < MODEL_NATS  # type: ignore[index]
    moved = max(np.abs(one - effects.corrupted).max() for one in effects.patched.values())
    assert moved > 10 * MODEL_NATS  # the patches have effects


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert"])
def test_patched_patterns_equal_slow_loops(name: str, zoo: Callable[[str], Pair]) -> None:
    models = zoo(name)
    pair = pair_of(models.model)
    effects = patch_heads(models.model, pair, DIFFERENCE, "pattern")
    clean, corrupted = (inputs_of(models.model, [one]) for one in (pair.clean, pair.corrupted))
    with torch.inference_mode():
        weights = models.eager(**clean, output_attentions=True).attentions
    causal = models.model.info.family == "decoder"
    for head in (Head("self", 0, 1), Head("self", 1, 3), Head("self", 2, 0)):

        def row(layer: int, at: int, query: int, scores: Tensor, head: Head = head) -> Tensor:
            if (layer, at) == (head.layer, head.head):
                return weights[layer][0, at, query].double()
            seen = scores[: query + 1] if causal else scores
            return torch.nn.functional.pad(seen.softmax(-1), (0, len(scores) - len(seen)))

        with torch.inference_mode(), slow_model(models.eager, row) as network:
            logits = network(corrupted["input_ids"]).logits[0, -1]
        expected = float(logits[9] - logits[12])
        assert abs(effects.patched["self"][head.layer, head.head] - expected) < MODEL_NATS
    assert np.abs(effects.patched["self"] - effects.corrupted).max() > 10 * MODEL_NATS


@pytest.mark.parametrize("unequal", [False, True])
def test_patched_patterns_of_t5_equal_slow_loops(unequal: bool, zoo: Callable[[str], Pair]) -> None:
    models = zoo("t5")
    clean = random_ids(models.model, 6, 1)
    target = (0, *random_ids(models.model, 3, 9))
    texts, targets = [(at, at) for at in range(6)], [(at, at) for at in range(4)]
    corrupted, other = (*random_ids(models.model, 4, 2), *clean[-2:]), target[:1] + target[:0:-1]
    if unequal:  # the first token is doubled: the second of the two has no partner
        corrupted, other = (*clean[:1], 7, *clean[1:]), (*target[:1], 7, *target[1:])
        texts = [(0, 0), *((at, at + 1) for at in range(1, 6))]
        targets = [(0, 0), *((at, at + 1) for at in range(1, 4))]
    pair = TextPair(Encoded(clean, target=target), Encoded(corrupted, target=other))
    effects = patch_heads(models.model, pair, DIFFERENCE, "pattern")
    weights, others = ({} for _ in range(2))  # type: ignore[var-annotated]
    for kept, text in ((weights, pair.clean), (others, pair.corrupted)):
        with torch.inference_mode():
            run = models.eager(**inputs_of(models.model, [text]), output_attentions=True)
        kept["encoder"], kept["decoder"] = run.encoder_attentions, run.decoder_attentions
        kept["cross"] = run.cross_attentions
    for kind, table in effects.patched.items():
        place = np.unravel_index(np.abs(table - effects.corrupted).argmax(), table.shape)
        head = Head(kind, int(place[0]), int(place[1]))  # of the largest effect
        rows = {two: one for one, two in (texts if head.kind == "encoder" else targets)}
        keys = targets if head.kind == "decoder" else texts

        def row(
            kind: str, layer: int, at: int, query: int, scores: Tensor,
            head: Head = head, rows: Any = rows, keys: Any = keys,
        ) -> Tensor:  # fmt: skip
            seen = scores[: query + 1] if kind == "decoder" else scores
            plain = torch.nn.functional.pad(seen.softmax(-1), (0, len(scores) - len(seen)))
            if Head(kind, layer, at) != head or query not in rows:  # type: ignore[arg-type]
                return plain
            given = weights[kind][layer][0, at, rows[query]].double()
            mine = others[kind][layer][0, at, query].double()
            pairs = [(one, two) for one, two in keys if kind != "decoder" or two <= query]
            room, total = (sum(float(table[at]) for at in places) for table, places in (
                (mine, [two for _, two in pairs]), (given, [one for one, _ in pairs])))  # fmt: skip
            result = mine.clone()
            for one, two in pairs:
                result[two] = given[one] * room / total
            return result

        with (
            torch.inference_mode(),
            slow_encoder_decoder(
                models.eager, row, lambda kind, layer, head, output: output
            ) as network,
        ):
            logits = network(**inputs_of(models.model, [pair.corrupted])).logits[0, -1]
        expected = float(logits[9] - logits[12])
        assert abs(table[place] - expected) < MODEL
        assert abs(expected - effects.corrupted) > 10 * MODEL


@pytest.mark.parametrize("name", MODELS)
def test_nothing_patched_changes_nothing_and_all_outputs_restore_the_clean_run(
    name: str, zoo: Callable[[str], Pair]
) -> None:
    model = zoo(name).model
    pair = pair_of(model)
    effects = patch_heads(model, pair, DIFFERENCE)
    assert abs(effects.clean - effects.corrupted) > 10 * MODEL_NATS
    assert patch_together(model, pair, DIFFERENCE, []) == pytest.approx(effects.corrupted, abs=1e-6)
    # The texts end with the same token: all else at that position is made of heads' outputs.
    restored = patch_together(model, pair, DIFFERENCE, all_heads(model))
    assert abs(restored - effects.clean) < MODEL_NATS
    same = patch_heads(model, TextPair(pair.corrupted, pair.corrupted), DIFFERENCE)
    for kind, table in same.patched.items():
        np.testing.assert_allclose(table, effects.corrupted, atol=MODEL_NATS)
        assert np.isnan(same.share(kind)).all()  # nothing separates equal texts


def test_shares_are_0_for_the_corrupted_and_1_for_the_clean_run(gpt: Model) -> None:
    effects = patch_heads(gpt, pair_of(gpt), DIFFERENCE)
    apart = effects.clean - effects.corrupted
    expected = np.array(
        [[(one - effects.corrupted) / apart for one in row] for row in effects.patched["self"]]
    )
    np.testing.assert_allclose(effects.share("self"), expected)


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "t5", "t5 encoder"])
def test_patched_streams_equal_plain_hooks(name: str, zoo: Callable[[str], Pair]) -> None:
    models = zoo(name.split()[0])
    pair = pair_of(models.model)
    if name == "t5":  # the stream of the decoder is patched: another target
        pair = TextPair(
            pair.clean, Encoded(pair.clean.ids, target=(0, *random_ids(models.model, 3, 5)))
        )
    side: Any = "encoder" if name == "t5 encoder" else "decoder"
    effects = patch_stream(models.model, pair, DIFFERENCE, side=side)
    clean, corrupted = (inputs_of(models.model, [one]) for one in (pair.clean, pair.corrupted))
    first = {
        "gpt2": "transformer.h.{}",
        "llama": "model.layers.{}",
        "bert": "bert.encoder.layer.{}",
        "t5": "decoder.block.{}",
        "t5 encoder": "encoder.block.{}",
    }[name]
    layers, positions = effects.patched.shape
    assert (
        layers == models.model.info.heads.get(side, next(iter(models.model.info.heads.values())))[0]
    )
    for layer in range(layers):
        module = models.eager.get_submodule(first.format(layer))
        kept: list[Tensor] = []

        def keep(one: Any, arguments: Any, output: Any, kept: list[Tensor] = kept) -> None:
            kept.append(output if isinstance(output, Tensor) else output[0])

        handle = module.register_forward_hook(keep)
        with torch.inference_mode():
            models.eager(**clean)
        handle.remove()
        for position in range(positions):

            def change(
                one: Any, given: Any, output: Any, at: int = position, kept: list[Tensor] = kept
            ) -> Any:
                stream = (output if isinstance(output, Tensor) else output[0]).clone()
                stream[:, at] = kept[0][:, at]
                return stream if isinstance(output, Tensor) else (stream, *output[1:])

            handle = module.register_forward_hook(change)
            with torch.inference_mode():
                logits = models.eager(**corrupted).logits[0, -1]
            handle.remove()
            expected = float(logits[9] - logits[12])
            assert abs(effects.patched[layer, position] - expected) < MODEL_NATS
    np.testing.assert_allclose(effects.whole, effects.clean, atol=MODEL_NATS)
    if name not in (
        "bert",
        "t5 encoder",
    ):  # behind the last block a causal prediction reads one position
        assert abs(effects.share()[-1, -1] - 1) < 0.01


def test_pairs_and_parts_that_do_not_fit_are_refused(gpt: Model) -> None:
    pair = pair_of(gpt)
    with pytest.raises(InputError, match="a part of a head is one of output"):
        patch_heads(gpt, pair, DIFFERENCE, "mlp")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no position 9"):
        patch_heads(gpt, pair, LogitDifference(9, 12, 9))
    with pytest.raises(InputError, match="no token"):
        patch_heads(gpt, pair, LogitDifference(10**6))
    with pytest.raises(InputError, match="has no head L9·H0"):
        patch_together(gpt, pair, DIFFERENCE, [Head("self", 9, 0)])


def test_progress_reaches_one_and_may_cancel(gpt: Model) -> None:
    shares: list[float] = []
    patch_heads(gpt, pair_of(gpt), DIFFERENCE, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1

    def cancel(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        patch_heads(gpt, pair_of(gpt), DIFFERENCE, progress=cancel)
    before = likeliest(gpt, pair_of(gpt).clean)
    assert before == likeliest(gpt, pair_of(gpt).clean)  # no patch is left


def test_a_repetition_is_copied_by_the_known_induction_heads() -> None:
    model = attnviz.load("gpt-classroom")
    clean, corrupted = (
        encode(model, f"The king saw a {one}. The king saw a") for one in ("dog", "man")
    )
    answer, other = (encode(model, f" {one}", begin=False).ids[0] for one in ("dog", "man"))
    effects = patch_heads(model, TextPair(clean, corrupted), LogitDifference(answer, other))
    shares = effects.share("self")
    known = {(1, 0), (1, 3), (1, 5)}
    layer1 = sorted(((1, head) for head in range(8)), key=lambda at: -shares[at])
    assert shares[0, 7] < 0.05  # the word is at the same place: no other previous token matters
    assert sum(shares[at] for at in known) > 0.4
    assert layer1[0] in known
