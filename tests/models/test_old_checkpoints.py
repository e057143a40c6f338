"""Checkpoints as the well-known ones on the hub are written: old names, tied weights left out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import attnviz
from tests.zoo import ARCHITECTURES, Pair, all_weights

Weights = dict[str, Tensor]


def as_bert_base(weights: Weights) -> Weights:
    """Norms by their old names, a next-sentence head, the output layer only by its tie."""
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): numbers
        for name, numbers in weights.items()
        if "decoder" not in name
    }
    return old | {"cls.seq_relationship.weight": torch.zeros(2, 32)}


def as_gpt2(weights: Weights) -> Weights:
    """Return names without their prefix, without an output layer, with old masks as weights."""
    old = {
        name.removeprefix("transformer."): numbers
        for name, numbers in weights.items()
        if "lm_head" not in name
    }
    return old | {f"h.{layer}.attn.bias": torch.ones(1, 1, 8, 8).tril() for layer in range(3)}


OLD = {
    "bert": (as_bert_base, "BertForPreTraining"),
    "gpt2": (as_gpt2, "GPT2LMHeadModel"),
}


@pytest.mark.parametrize("name", OLD)
def test_old_checkpoints_load_whole(zoo: Callable[[str], Pair], tmp_path: Path, name: str) -> None:
    rewrite, architecture = OLD[name]
    folder = Path(shutil.copytree(zoo(name).folder, tmp_path / name))
    before = load_file(folder / "model.safetensors")
    after = rewrite(before)
    assert after.keys() != before.keys()
    save_file(after, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text()) | {"architectures": [architecture]}
    (folder / "config.json").write_text(json.dumps(config))
    model = attnviz.load(str(folder))
    assert model.predicts
    mine = attnviz.capture(model, "The cat sat on the mat.")
    theirs = attnviz.capture(zoo(name).model, "The cat sat on the mat.")
    np.testing.assert_array_equal(all_weights(mine["self"]), all_weights(theirs["self"]))
    assert mine.predictions[3].labels == theirs.predictions[3].labels


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_whole_model_predicts(zoo: Callable[[str], Pair], name: str) -> None:
    assert zoo(name).model.predicts
