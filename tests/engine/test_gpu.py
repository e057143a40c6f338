"""Numbers on a GPU equal those on the CPU; skipped without a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import attnviz
from attnviz.attention.kernel.attend import attend
from attnviz.attention.kernel.paths import QUICKER_KEYS
from attnviz.attention.kernel.row_statistics import ROW_NAMES, RowObserver
from attnviz.attention.kernel.score_terms import ScoreTerms
from attnviz.attention.kernel.token_pairs import TokenPairs
from attnviz.attention.masks.visibility import Visibility
from tests.zoo import Pair

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

TEXT = "The cat sat on the mat, and the cat slept."


@pytest.mark.parametrize("name", ["gpt2", "bert", "t5", "llama", "gemma2", "gpt_oss"])
@pytest.mark.parametrize(
    ("dtype", "allowed"), [("float32", 5e-5), ("bfloat16", 2e-2), ("float16", 1e-2)]
)
def test_gpu_agrees_with_cpu(
    zoo: object, name: str, dtype: str, allowed: float, tmp_path: Path
) -> None:
    pair: Pair = zoo(name)  # type: ignore[operator]
    there = attnviz.load(str(pair.folder), device="cuda", dtype=dtype)
    assert there.info.device.startswith("cuda")
    target = TEXT if there.info.family == "encoder-decoder" else None
    ours = attnviz.capture(there, TEXT, target=target)
    first = next(iter(ours.stacks.values())).layers[0]
    assert first.vectors is not None
    assert first.vectors.query.is_cuda  # tensors stay on the GPU until on_host
    moved = next(iter(ours.on_host().stacks.values())).layers[0].vectors
    assert moved is not None
    assert not moved.query.is_cuda
    expected = attnviz.capture(pair.model, TEXT, target=target)
    for kind, stack in ours.stacks.items():
        for layer, head in np.ndindex(stack.shape[:2]):
            weights = stack.weights(layer, head)
            assert np.abs(weights - expected[kind].weights(layer, head)).max() < allowed
        overview = expected[kind].pooled(0, 0, 5)
        assert np.abs(stack.pooled(0, 0, 5) - overview).max() < allowed
    if dtype == "float32":
        assert attnviz.verify(ours).holds


@pytest.mark.parametrize("groups", [12, 4])
@pytest.mark.parametrize("mask", ["causal", "full", "window", "padded"])
def test_both_paths_agree_on_a_gpu(mask: str, groups: int) -> None:
    n, batch = 2048, 2
    visibility = {
        "causal": Visibility.causal(batch, n, n, 0, "cuda"),
        "full": Visibility.full(batch, n, n, "cuda"),
    }
    if mask not in visibility:
        place = torch.arange(n, device="cuda")
        back = place[:, None] - place
        flags = ((back >= 0) & (back < 100)).expand(batch, -1, -1).clone()
        if mask == "padded":
            flags = (back >= 0).expand(batch, -1, -1).clone()
            flags[1, :, n // 2 + 3 :] = False
        visibility[mask] = Visibility.from_table(flags)
    rule = visibility[mask]
    generator = torch.Generator("cuda").manual_seed(0)

    def drawn(heads: int) -> torch.Tensor:
        return torch.randn(batch, heads, n, 64, device="cuda", generator=generator)

    query, key, value = drawn(12), drawn(groups), drawn(groups)
    pairs = TokenPairs(torch.arange(n, device="cuda").expand(batch, -1) % 500)
    outputs = {}
    for path in ("blocks", "fused"):
        observer = RowObserver(batch, 12, n, rule, pairs, query.device)
        output = attend(query, key, value, rule, ScoreTerms(0.125), observe=observer, path=path)
        outputs[path] = (output, observer.finish())
    (one, blocks), (other, fused) = outputs["blocks"], outputs["fused"]
    torch.testing.assert_close(other, one, atol=1e-5, rtol=0)
    for name in ROW_NAMES:
        torch.testing.assert_close(
            fused.rows[name],
            blocks.rows[name],
            atol=1e-5,
            rtol=1e-5 if name == "distance" else 0,
            equal_nan=True,
        )


def test_long_texts_take_the_fused_path(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(RowObserver, "observe_fused_rows", lambda self, rows: taken.append(rows))
    for n in (QUICKER_KEYS - 1, QUICKER_KEYS):
        rule = Visibility.causal(1, n, n, 0, "cuda")
        inputs = [torch.randn(1, 4, n, 32, device="cuda") for _ in range(3)]
        observer = RowObserver(1, 4, n, rule, None, inputs[0].device)
        attend(inputs[0], inputs[1], inputs[2], rule, ScoreTerms(0.1), observe=observer)
        assert len(taken) == (n == QUICKER_KEYS)


@pytest.mark.slow
def test_a_text_of_128_000_tokens() -> None:
    """Statistics of one layer fit into 16 GB; see benchmarks.md."""
    n, heads, groups, dim = 128_000, 32, 8, 128
    rule = Visibility.causal(1, n, n, 0, "cuda")
    torch.cuda.reset_peak_memory_stats()
    shape = {"device": "cuda", "dtype": torch.bfloat16}
    query = torch.randn(1, heads, n, dim, **shape)
    key, value = (torch.randn(1, groups, n, dim, **shape) for _ in range(2))
    pairs = TokenPairs(torch.arange(n, device="cuda")[None] % 500)  # too many to be listed
    observer = RowObserver(1, heads, n, rule, pairs, query.device)
    with torch.inference_mode():
        attend(query, key, value, rule, ScoreTerms(dim**-0.5), observe=observer)
    rows = observer.finish().rows
    assert torch.isfinite(rows["entropy"]).all()
    assert (rows["entropy"] <= torch.arange(1, n + 1, device="cuda").log() + 1e-3).all()
    assert torch.cuda.max_memory_allocated() < 16 << 30
