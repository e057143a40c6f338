"""Fused path and blocks compute equal numbers."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as some

from attnviz.attention.input_recorder import InputRecorder
from attnviz.attention.kernel.attend import attend
from attnviz.attention.kernel.blocks import Block
from attnviz.attention.kernel.fused_statistics import SAFE_SCORE, FusedRows
from attnviz.attention.kernel.paths import Path, preferring
from attnviz.attention.kernel.row_statistics import ROW_NAMES, RowObserver
from attnviz.attention.kernel.score_terms import ScoreTerms
from attnviz.attention.kernel.token_pairs import SPARSE_SHARE, TokenPairs
from attnviz.attention.masks.visibility import Visibility
from attnviz.captures.forward_pass import capture_ids
from tests.bounds import SAME
from tests.engine.handmade import Vectors, causal, vectors
from tests.zoo import Pair, make_pair, random_texts

NATS = 5e-5
"""The fused path is accurate to 1e-5, to 2e-5 with the largest accepted scores."""


def rules(n: int, batch: int = 2) -> dict[str, np.ndarray]:
    """Return masks of visible pairs [text, query, key]; the name says if the second is padded."""
    place = np.arange(n)
    back = place[:, None] - place[None, :]
    full = np.ones((n, n), bool)

    def both(visible: np.ndarray, left: int = 0, right: int = 0) -> np.ndarray:
        maps = np.stack([visible] * batch)
        maps[-1, :, :left] = False
        maps[-1, :, n - right :] = False
        return maps

    return {
        "full": both(full),
        "causal": both(causal(n)),
        "causal, padded right": both(causal(n), right=n // 3),
        "causal, padded left": both(causal(n), left=n // 3),
        "full, padded": both(full, right=n // 3),
        "window behind": both(causal(n) & (back < 5)),
        "window both ways": both(full & (abs(back) <= 3)),
        "chunks": both(causal(n) & (place[:, None] // 7 == place[None, :] // 7)),
        "no rule at all": np.random.default_rng(n).random((batch, n, n)) < 0.4,
    }


def observed(
    inputs: Vectors,
    rule: Visibility,
    path: Path,
    ids: Any = None,
    real: Any = None,
    scaling: float = 0.4,
) -> tuple[torch.Tensor, RowObserver]:
    """Return the output of a path and its statistics."""
    batch, heads, queries, _ = inputs.query.shape
    pairs = None if ids is None else TokenPairs(ids)
    observer = RowObserver(batch, heads, queries, rule, pairs, torch.device("cpu"), real)
    parts = (inputs.query, inputs.key, inputs.value)
    output = attend(*parts, rule, ScoreTerms(scaling), observe=observer, path=path)
    return output, observer.finish()


def assert_equal(one: RowObserver, other: RowObserver, rule: Visibility) -> None:
    assert set(ROW_NAMES) == one.rows.keys() == other.rows.keys()
    for name in ROW_NAMES:
        # relative: a distance may be hundreds of tokens
        torch.testing.assert_close(
            other.rows[name],
            one.rows[name],
            atol=NATS,
            rtol=NATS if name == "distance" else 0,
            equal_nan=True,
            msg=lambda text, name=name: f"{name}: {text}",
        )
    seen = rule.seen_by().clamp_min(1)[:, None]
    torch.testing.assert_close(other.key_mass / seen, one.key_mass / seen, atol=NATS, rtol=0)
    mine, theirs = one.normalizer, other.normalizer
    sighted = (rule.count > 0)[:, None]
    lse = [(each.highest + each.total.log()) * sighted for each in (mine, theirs)]
    torch.testing.assert_close(*lse, atol=NATS, rtol=SAME)


@pytest.mark.parametrize("groups", [4, 2, 1])
@pytest.mark.parametrize("mask", rules(1))
def test_both_paths_agree(mask: str, groups: int) -> None:
    n = 150  # more than one segment of keys
    inputs = vectors(groups=groups, queries=n, keys=n, seed=groups)
    visible = torch.as_tensor(rules(n)[mask])
    rule = Visibility.from_table(visible)
    ids = torch.randint(0, 40, (2, n), generator=torch.Generator().manual_seed(groups))
    real = visible.any(1)
    outputs, observers = zip(
        *(observed(inputs, rule, path, ids, real, scaling=0.4) for path in ("blocks", "fused")),
        strict=True,
    )
    torch.testing.assert_close(outputs[1], outputs[0], atol=NATS, rtol=0)
    assert_equal(*observers, rule)


@settings(max_examples=60)
@given(
    n=some.integers(1, 70),
    dim=some.sampled_from([1, 3, 8, 16]),
    groups=some.sampled_from([1, 2, 4]),
    mask=some.sampled_from(sorted(rules(1))),
    words=some.integers(1, 30),
    size=some.floats(0.0, 2.0),
    offset=some.floats(-3.0, 3.0),
    seed=some.integers(0, 99),
)
def test_both_paths_agree_on_anything(
    n: int, dim: int, groups: int, mask: str, words: int, size: float, offset: float, seed: int
) -> None:
    inputs = vectors(groups=groups, queries=n, keys=n, dim=dim, seed=seed)
    inputs = Vectors(inputs.query * size, inputs.key + offset, inputs.value)  # keys far from zero
    rule = Visibility.from_table(torch.as_tensor(rules(n)[mask]))
    ids = torch.randint(0, words, (2, n), generator=torch.Generator().manual_seed(seed))
    options = {"scaling": dim**-0.5}
    _, fused = observed(inputs, rule, "fused", ids, **options)
    assume(not fused.inaccurate)
    _, blocks = observed(inputs, rule, "blocks", ids, **options)
    assert_equal(blocks, fused, rule)


def test_cross_attention() -> None:
    inputs = vectors(queries=9, keys=200)
    rule = Visibility.full(2, 9, 200)
    (one, blocks), (other, fused) = (
        observed(inputs, rule, path, scaling=0.4) for path in ("blocks", "fused")
    )
    torch.testing.assert_close(other, one, atol=NATS, rtol=0)
    assert_equal(blocks, fused, rule)


@pytest.mark.parametrize("seed", range(3))
def test_largest_accepted_scores(seed: int) -> None:
    """Below the bound on scores the entropy is accurate to 1e-5 nats."""
    n, dim = 300, 64
    inputs, rule = vectors(queries=n, keys=n, dim=dim, seed=seed), Visibility.causal(2, n, n, 0)
    ids = torch.arange(n).expand(2, -1)

    def rows(scaling: float) -> FusedRows:
        return FusedRows.of(inputs.query, inputs.key, inputs.value, rule, scaling)

    low, high = 0.0, 10.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if rows(middle).is_accurate else (low, middle)
    assert rows(low).lse.abs().max() > SAFE_SCORE / 3  # the search ends at large scores
    _, blocks = observed(inputs, rule, "blocks", ids, scaling=low)
    _, fused = observed(inputs, rule, "fused", ids, scaling=low)
    assert_equal(blocks, fused, rule)
    assert blocks.inaccurate is None
    assert not fused.inaccurate
    assert observed(inputs, rule, "fused", ids, scaling=1.01 * high)[1].inaccurate


def test_layers_with_large_scores_are_computed_again_by_blocks(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked once per pass, not once per layer; remembered for the next capture."""
    model = make_pair("gpt2", tmp_path).model
    texts = random_texts(model, (40,))
    passes: list[frozenset[str]] = []
    begin = InputRecorder.of

    def counted(*arguments: Any) -> InputRecorder:
        recorder = begin(*arguments)
        passes.append(recorder.by_blocks)
        return recorder

    monkeypatch.setattr(InputRecorder, "of", counted)
    large = "transformer.h.0.attn"
    with torch.no_grad():
        weights = model.network.get_submodule(large).c_attn.weight
        weights[:, : weights.shape[1] // 3] *= 30.0  # queries: scores in the hundreds
    blocks = capture_ids(model, texts)[0]["self"]
    with preferring("fused"):
        fused = capture_ids(model, texts)[0]["self"]
        again = capture_ids(model, texts)[0]["self"]
    assert passes == [frozenset(), frozenset(), {large}, {large}]
    for stack in (fused, again):
        for name in ROW_NAMES:
            np.testing.assert_allclose(
                stack.statistic(name), blocks.statistic(name), atol=NATS, rtol=NATS, err_msg=name
            )


@pytest.mark.parametrize(
    "what", ["softcap", "bias", "sinks", "bfloat16", "gradient", "observer of blocks"]
)
def test_refusal_names_the_condition(what: str) -> None:
    inputs, rule = vectors(), Visibility.full(2, 11, 11)
    terms, options = ScoreTerms(0.4), {"path": "fused"}
    options["observe"] = RowObserver(2, 4, 11, rule, None, torch.device("cpu"))
    attend(inputs.query, inputs.key, inputs.value, rule, terms, **options)  # accepted
    parts = [inputs.query, inputs.key, inputs.value]
    if what == "softcap":
        terms = ScoreTerms(0.4, softcap=30.0)
    elif what == "bias":
        terms = ScoreTerms(0.4, bias=torch.zeros(1, 1, 11, 11))
    elif what == "sinks":
        terms = ScoreTerms(0.4, sinks=torch.zeros(4))
    elif what == "bfloat16":
        parts = [part.bfloat16() for part in parts]
    elif what == "gradient":
        parts[0] = parts[0].requires_grad_()
    else:
        options["observe"] = lambda block: None
    with pytest.raises(ValueError, match=f"fused path takes.*this call has.*{what}"):
        attend(*parts, rule, terms, **options)
    attend(*parts, rule, terms, **(options | {"path": None}))


def test_texts_with_many_copies_use_blocks() -> None:
    """If all tokens are equal every key is a copy: single weights would take too long."""
    few, many = TokenPairs(torch.arange(300)[None]), TokenPairs(torch.zeros(1, 300, dtype=int))
    rule = Visibility.causal(1, 300, 300, 0)
    observers = [RowObserver(1, 4, 300, rule, pairs, torch.device("cpu")) for pairs in (few, many)]
    assert [observer.accepts_fused_rows for observer in observers] == [True, False]


@pytest.mark.parametrize("ids", [[[3, 1, 3, 3, 1, 2]], [[5, 5, 5], [1, 2, 1]], [[7]]])
def test_listed_pairs_equal_flags(ids: list[list[int]]) -> None:
    pairs = TokenPairs(torch.tensor(ids))
    flags = pairs.flags(0, len(ids[0]))
    listed = torch.zeros_like(flags)
    for text, later, copy in pairs.listed:
        listed[text, later, copy] = True
    assert torch.equal(listed, flags)
    assert pairs.count == flags.sum()
    assert torch.equal(pairs.has_earlier_copy, flags.any(-1))


@given(data=some.data())
def test_block_pairs_equal_flags(data: some.DataObject) -> None:
    length, texts = data.draw(some.integers(1, 60)), data.draw(some.integers(1, 3))
    words = some.lists(some.integers(0, 40), min_size=length, max_size=length)
    ids = torch.tensor(data.draw(some.lists(words, min_size=texts, max_size=texts)))
    start = data.draw(some.integers(0, length - 1))
    end = data.draw(some.integers(start + 1, length))
    pairs = TokenPairs(ids)
    block, flags = pairs.block(start, end), pairs.flags(start, end)
    assert (block is not None) == (int(flags.sum()) * SPARSE_SHARE <= flags.numel())
    if block is not None:
        listed = torch.zeros_like(flags)
        listed[block[0], block[1] - start, block[2]] = True
        assert torch.equal(listed, flags)
        assert block.shape[1] == flags.sum()


@pytest.mark.parametrize("name", ["gpt2", "bert", "granite", "mistral", "bart", "modernbert"])
@pytest.mark.parametrize("lengths", [(1,), (40,), (40, 13)])
def test_captures_agree(
    zoo: Callable[[str], Pair], name: str, lengths: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = zoo(name).model
    texts = random_texts(model, lengths)
    blocks = capture_ids(model, texts)
    taken = []
    take = RowObserver.observe_fused_rows
    monkeypatch.setattr(
        RowObserver, "observe_fused_rows", lambda self, rows: (taken.append(rows), take(self, rows))
    )
    with preferring("fused"):
        fused = capture_ids(model, texts)
    assert taken
    for one, other in zip(blocks, fused, strict=True):
        for kind, stack in one.stacks.items():
            for layer, head in np.ndindex(stack.shape[:2]):
                np.testing.assert_allclose(
                    other[kind].weights(layer, head), stack.weights(layer, head), atol=NATS
                )
            for name in ROW_NAMES:
                np.testing.assert_allclose(
                    other[kind].statistic(name),
                    stack.statistic(name),
                    atol=NATS,
                    rtol=NATS,
                    err_msg=name,
                )


def test_calls_with_other_terms_use_blocks(zoo: Callable[[str], Pair]) -> None:
    """T5 has a bias, Gemma 2 a softcap, gpt-oss sinks: `preferring` does not break them."""
    for name in ("t5", "gemma2", "gpt_oss"):
        texts = random_texts(zoo(name).model, (12,))
        blocks = capture_ids(zoo(name).model, texts)[0]
        with preferring("fused"):
            other = capture_ids(zoo(name).model, texts)[0]
        for kind in ("self", "encoder", "decoder"):
            if kind in blocks.stacks:
                np.testing.assert_array_equal(
                    other[kind].statistic("entropy"), blocks[kind].statistic("entropy")
                )


def test_fused_path_computes_no_block_of_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory of the fused path is linear in the length of the text."""

    def fail(*unused: object, **options: object) -> None:
        raise AssertionError("a block of scores was computed")

    monkeypatch.setattr("attnviz.attention.kernel.attend.attention_scores", fail)
    rule = Visibility.causal(2, 40, 40, 0)
    observed(
        vectors(queries=40, keys=40), rule, "fused", torch.arange(40).expand(2, -1), scaling=0.4
    )
    with pytest.raises(AssertionError, match="a block"):
        observed(vectors(queries=40, keys=40), rule, "blocks", scaling=0.4)


def test_blocks_are_preferred_on_a_cpu() -> None:
    seen: list[Block] = []
    inputs, rule = vectors(queries=40, keys=40), Visibility.causal(2, 40, 40, 0)
    attend(inputs.query, inputs.key, inputs.value, rule, ScoreTerms(0.4), observe=seen.append)
    assert seen
    assert isinstance(FusedRows.of(inputs.query, inputs.key, inputs.value, rule, 0.1), FusedRows)
