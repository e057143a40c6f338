"""A part of the table of architectures: what stands between weights and output, masks, sinks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import attnviz
from attnviz.attention import AttentionStack, Layer
from benchmarks.architectures import HeadName, built, tried
from tests.vocabularies import vocabulary

PART: dict[str, tuple[str, HeadName]] = {
    "a gate before the output projection": ("qwen3_next", "causal"),
    "a gate of another shape": ("laguna", "causal"),
    "a norm before the output projection": ("bitnet", "causal"),
    "output projections per expert": ("jetmoe", "causal"),
    "a causal class that looks both ways": ("bert", "causal"),
    "windows, and a sink that the library's weights leave out": ("granite_swa", "causal"),
}


@pytest.mark.parametrize("what", PART)
def test_it_is_right(what: str) -> None:
    result = tried(*PART[what])
    assert result.outcome == "right", result.reason
    assert result.apart < 5e-5


def test_a_gate_hides_no_wrong_values(tmp_path: Path) -> None:
    tokenizer = vocabulary("bpe")
    built("qwen3_next", "causal", tokenizer).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = attnviz.load(str(tmp_path))
    capture = attnviz.capture(model, "The cat sat on the mat.")
    layers = list(capture["self"].layers)
    vectors = layers[0].vectors
    assert vectors is not None
    layers[0] = replace(layers[0], vectors=replace(vectors, value=vectors.value.flip(1)))
    stack = replace_layers(capture["self"], layers)
    proof = attnviz.verify(replace(capture, stacks={"self": stack}))
    assert proof.reconstruction > 0.1
    assert not proof.holds


def replace_layers(stack: AttentionStack, layers: list[Layer]) -> AttentionStack:
    return AttentionStack("self", stack.query_tokens, stack.key_tokens, tuple(layers))
