"""The same numbers on a GPU; skipped, and said so, without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import attnviz
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
    assert first.query is not None
    assert first.query.is_cuda  # nothing is moved until asked for
    moved = next(iter(ours.on_host().stacks.values())).layers[0].query
    assert moved is not None
    assert not moved.is_cuda
    expected = attnviz.capture(pair.model, TEXT, target=target)
    for kind, stack in ours.stacks.items():
        for layer, head in np.ndindex(stack.shape[:2]):
            weights = stack.weights(layer, head)
            assert np.abs(weights - expected[kind].weights(layer, head)).max() < allowed
    if dtype == "float32":
        assert attnviz.verify(ours).holds
