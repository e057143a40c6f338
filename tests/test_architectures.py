"""Part of the table of architectures: operations after the weights, masks, sinks."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers import PreTrainedConfig

import attnviz
from attnviz.attention import AttentionStack, Layer
from attnviz.attention.masks.lazy_mask import LazyMask
from attnviz.errors import ModelNotSupported
from benchmarks.architectures import HeadName, built, pairs, tried
from benchmarks.models_page import HEADS, PAGE, WORDS
from tests.vocabularies import vocabulary

PART: dict[str, tuple[str, HeadName]] = {
    "a gate before the output projection": ("qwen3_next", "causal"),
    "a gate of another shape": ("laguna", "causal"),
    "a norm before the output projection": ("bitnet", "causal"),
    "output projections per expert": ("jetmoe", "causal"),
    "a causal class that looks both ways": ("bert", "causal"),
    "experts that are chosen by the mask": ("nllb-moe", "seq2seq"),
    "layers that select keys": ("deepseek_v32", "causal"),
    "several residual streams": ("hy_v4", "causal"),
    "windows, and a sink that the library's weights leave out": ("granite_swa", "causal"),
}


@pytest.mark.parametrize("what", PART)
def test_it_is_right(what: str) -> None:
    result = tried(*PART[what])
    assert result.outcome == "right", result.reason
    assert result.apart < 5e-5


REFUSED: dict[tuple[str, HeadName], str] = {
    ("longt5", "seq2seq"): "longt5.* do not take their encoder attention from",
    ("bigbird_pegasus", "seq2seq"): "bigbird_pegasus.* do not take their encoder attention from",
    ("doge", "causal"): "heads of a layer have different masks",
    ("inkling2_text", "causal"): "depends on 'sinks'",
    ("diffllama", "causal"): "each layer of this model calls attention 2 times",
    ("bloom", "causal"): "bloom.* do not take their attention from",
    ("mamba2", "causal"): "have no attention layer: .* type linear_attention",
}


@pytest.mark.parametrize("what", REFUSED, ids=" ".join)
def test_it_is_refused_for_the_true_reason(what: tuple[str, HeadName]) -> None:
    result = tried(*what)
    assert result.outcome == "refused", result.reason
    assert re.search(REFUSED[what], result.reason)


def test_experts_chosen_by_a_wrong_mask_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each layer is right on equal inputs then; only what rounding explains is forgiven."""
    monkeypatch.setattr(LazyMask, "materialize", lambda mask: mask.visibility.table()[:, None])
    result = tried("nllb-moe", "seq2seq")
    assert result.outcome == "refused"
    assert "an output is off by" in result.reason


def test_a_hybrid_without_an_attention_layer_is_refused_by_its_layers() -> None:
    network = built("lfm2", "causal", vocabulary("bpe"))
    config = replaced(network.config, layer_types=["conv"] * 2, num_hidden_layers=2)
    with pytest.raises(ModelNotSupported, match=r"have no attention layer: their .* type conv"):
        attnviz.instrument(type(network)(config))


def replaced(config: PreTrainedConfig, **changes: Any) -> PreTrainedConfig:
    return type(config)(**{**config.to_dict(), **changes})


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


def test_the_page_lists_every_architecture_of_the_library() -> None:
    text = PAGE.read_text("utf-8")
    assert f"transformers {transformers.__version__}" in text, (
        "run python -m benchmarks.architectures"
    )
    sections = dict(re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    for head, title in HEADS.items():
        listed = re.findall(r"^\| `([\w.-]+)` \|", sections[title.capitalize()], re.MULTILINE)
        assert sorted(listed) == sorted(name for name, other in pairs() if other == head)
    assert WORDS["fault"] not in text
