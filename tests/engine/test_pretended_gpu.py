"""Tests of the GPU code on a simulated GPU; `test_gpu.py` needs a real one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import torch

from attnviz.attention.kernel.attend import attend
from attnviz.attention.kernel.paths import Path, preferring
from attnviz.attention.kernel.row_statistics import ROW_NAMES, RowObserver
from attnviz.attention.kernel.score_terms import ScoreTerms
from attnviz.attention.kernel.token_pairs import TokenPairs
from attnviz.attention.masks.visibility import Visibility
from attnviz.attention.stack.attention_stack import POOL_ROWS
from attnviz.captures.forward_pass import Capture, capture, capture_ids
from attnviz.captures.proof import verify
from attnviz.captures.summary import summarize
from attnviz.doctor import diagnose
from attnviz.types import Kind
from tests.bounds import MODEL
from tests.engine.handmade import vectors
from tests.engine.pretended_gpu import Pretended, on_pretended_gpu, pretended, pretending, real
from tests.engine.test_fused import rules
from tests.zoo import EVERYTHING, Pair, random_texts

Maps = dict[Kind, np.ndarray]
LENGTHS = (20, 13)
TEXTS = (
    "The cat sat on the mat, and the cat slept.",
    "A dog ran to the park and slept there.",
    "The cat ran.",
)
ALLOWED = {"blocks": MODEL, "fused": 2 * MODEL}  # across layers of sharp attention

FEW = ("gpt2", "bert", "gemma2", "cohere2", "mixtral", "umt5", "clip")  # during the pass

# UMT5 has another position bias in every layer, and each is read: is it a function of the
# distance? Read after the pass, they would be n x n numbers per layer until then.
KNOWN = {"umt5": {"position_bias.py"}}


def ours(waits: list[tuple[str, str]]) -> set[str]:
    """Return the files of attnviz's engine that waited."""
    files = {place.split(":")[0] for _, place in waits}
    return files - {"forward_pass.py"}  # called by a layer of the library


@pytest.mark.parametrize("path", ["blocks", "fused"])
@pytest.mark.parametrize(
    "name",
    [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in EVERYTHING],
)
def test_captures_on_a_gpu(zoo: Callable[[str], Pair], name: str, path: Path) -> None:
    """Numbers are equal, and layers with a known kind and mask do not wait."""
    pair, allowed = zoo(name), ALLOWED[path]
    texts = random_texts(pair.model, LENGTHS)
    expected = capture_ids(pair.model, texts)
    marks: list[int] = []
    with pretending() as watch, preferring(path):
        model = on_pretended_gpu(pair.model)
        capture_ids(model, texts)  # the layers that need blocks are known after the first capture
        watch.waits.clear()
        captures = capture_ids(model, texts, progress=lambda *_: marks.append(len(watch.waits)))
        waits = list(watch.waits)
        statistics = [read_on_device(one) for one in captures]
        moved = [one.on_host() for one in captures]
    for one, other, (numbers, corner) in zip(expected, moved, statistics, strict=True):
        for kind, stack in one.stacks.items():
            for layer, head in np.ndindex(stack.shape[:2]):
                np.testing.assert_allclose(
                    other[kind].weights(layer, head), stack.weights(layer, head), 0, allowed
                )
            np.testing.assert_allclose(corner[kind], stack.weights(0, 0), 0, allowed)
            for statistic, values in numbers[kind].items():
                np.testing.assert_allclose(
                    values, stack.statistic(statistic), allowed, allowed, err_msg=statistic
                )
    known = KNOWN.get(name, set())
    if path == "fused" and model.sites.by_blocks:  # the last layer may be the first by blocks
        known = known | {"token_pairs.py", "visibility.py"}
    assert ours(waits[marks[-2] : marks[-1]]) <= known  # the last layer
    if EVERYTHING[name].family == "encoder-decoder":
        assert ours(waits[marks[0] : marks[1]]) <= known  # the encoder's second
    behind = waits[marks[-1] :]
    assert not ours(behind) & {"row_statistics.py", "attention_stack.py", "fused_statistics.py"}
    assert sum(place.startswith("recorder.py") for _, place in behind) <= 1


def read_on_device(capture: Capture) -> tuple[dict[Kind, dict[str, np.ndarray]], Maps]:
    """Return all statistics and a head's weights of a capture on the GPU."""
    numbers, corner = {}, {}
    for kind, stack in capture.stacks.items():
        for layer in stack.layers:
            assert layer.vectors is not None
            assert layer.vectors.query.is_cuda
            assert layer.rows["entropy"].is_cuda
        numbers[kind] = {name: stack.statistic(name) for name in (*ROW_NAMES, "key_mass")}
        corner[kind] = stack.weights(0, 0)
    return numbers, corner


@pytest.mark.parametrize("groups", [4, 1])
@pytest.mark.parametrize("mask", rules(1))
def test_arguments_of_the_gpu_kernel_are_valid(mask: str, groups: int) -> None:
    """Odd sizes: rows of 16 bytes, a bias per head, a log-sum-exp longer than the rows."""
    n = 150
    inputs = vectors(groups=groups, queries=n, keys=n, seed=groups)
    visible = torch.as_tensor(rules(n)[mask])
    ids = torch.randint(0, 40, (2, n), generator=torch.Generator().manual_seed(groups))
    outputs, observers = [], []
    for path, move in (("blocks", torch.Tensor.detach), ("fused", pretended)):
        with pretending():
            rule = Visibility.from_table(move(visible))
            place = move(inputs.query).device
            watched = RowObserver(2, 4, n, rule, TokenPairs(move(ids)), place, move(visible.any(1)))
            parts = [move(part) for part in (inputs.query, inputs.key, inputs.value)]
            run = partial(attend, terms=ScoreTerms(0.4), observe=watched, path=path)
            outputs.append(real(run(*parts, rule)))
            observers.append(watched.finish())
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-5, rtol=0)
    for name in ROW_NAMES:
        torch.testing.assert_close(
            real(observers[1].rows[name]),
            observers[0].rows[name],
            atol=1e-5,
            rtol=1e-5,
            equal_nan=True,
        )


def test_a_statistic_is_copied_at_once(zoo: Callable[[str], Pair]) -> None:
    with pretending() as watch:
        model = on_pretended_gpu(zoo("gpt2").model)
        stack = capture_ids(model, random_texts(model, (9,)))[0]["self"]
        watch.waits.clear()
        stack.statistic("entropy")
    assert len(watch.waits) == 1


@pytest.mark.parametrize("how", ["max", "mean"])
@pytest.mark.parametrize("bins", [1, 7, 40, 300])
def test_an_overview_is_computed_on_the_gpu(
    zoo: Callable[[str], Pair], how: Literal["max", "mean"], bins: int
) -> None:
    """Only the overview is copied to the CPU, not the map."""
    pair = zoo("mistral")
    text = random_texts(pair.model, (130,))
    expected = capture_ids(pair.model, text)[0]["self"].pooled(1, 2, bins, how)
    moved: list[int] = []
    with pretending(), pytest.MonkeyPatch.context() as patch:
        stack = capture_ids(on_pretended_gpu(pair.model), text)[0]["self"]
        patch.setattr(
            Pretended,
            "cpu",
            lambda self: (moved.append(self.numel()), real(self))[1],
            raising=False,
        )
        overview = stack.pooled(1, 2, bins, how)
    np.testing.assert_allclose(overview, expected, 0, MODEL)
    shared = expected.shape[1] * (130 // POOL_ROWS)  # a bin may lie in two blocks of rows
    assert sum(moved) <= expected.size + shared


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "bert", "t5"])
def test_proof_metrics_targets_and_diagnosis_run_on_the_gpu(
    zoo: Callable[[str], Pair], name: str
) -> None:
    """Run verify, summarize, generated targets and a diagnosis."""
    given = zoo(name).model
    texts = TEXTS[-1:] if name == "t5" else TEXTS  # generating targets is slow
    here = diagnose(given, texts)
    with pretending():
        model = on_pretended_gpu(given)
        one = capture(model, texts[-1])
        assert verify(one).holds
        expected = summarize(capture(given, texts[-1]))
        pd.testing.assert_frame_equal(summarize(one), expected, atol=1e-5)
        there = diagnose(model, texts)
    for mine, theirs in zip(here.findings, there.findings, strict=True):
        assert (mine.head, mine.label, mine.verdict) == (theirs.head, theirs.label, theirs.verdict)
        for way, cost in mine.ablation.items():
            assert theirs.ablation[way].mean == pytest.approx(cost.mean, abs=1e-4)


def test_the_simulation_reports_mistakes() -> None:
    """Mixed devices, waits and reads from the host are reported."""
    with pretending() as watch:
        here, there = torch.ones(3), torch.ones(3, device="cuda")
        assert there.is_cuda
        with pytest.raises(AssertionError, match="mixes devices"):
            here + there
        with pytest.raises(AssertionError, match="mixes devices"):
            here[there.long()]
        with pytest.raises(AssertionError, match="on a GPU"):
            there.numpy()
        assert not watch.waits
        for waiting in (
            lambda: bool((there > 0).all()),
            lambda: there.sum().item(),
            lambda: there.tolist(),
            lambda: there.cpu(),
            lambda: here.to("cuda"),
            lambda: there[there > 0],
            lambda: there.nonzero(),
            lambda: torch.tensor([1.0], device="cuda"),
        ):
            before = len(watch.waits)
            waiting()
            assert len(watch.waits) == before + 1
        changed = there[1:].add_(1.0)
        assert changed.is_cuda
        assert real(there).tolist() == [1.0, 2.0, 2.0]
