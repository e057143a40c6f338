"""Folders of adapters (LoRA): with peft they load, without it the message says what to install."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import GPT2LMHeadModel

import attnviz
from attnviz.errors import ModelError, ModelNotAllowed, ModelNotFound, ModelNotSupported
from attnviz.models.loading import adapters
from tests.models.small import edit
from tests.zoo import all_weights

TEXT = "The cat sat on the mat."
SETTINGS = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def adapter_folder(folder: Path, base: object, **changes: Any) -> Path:
    """Write the files of an adapter without the package that makes them."""
    folder.mkdir(exist_ok=True)
    settings = {"peft_type": "LORA", "base_model_name_or_path": base, "task_type": "CAUSAL_LM"}
    settings |= {"r": 4, "lora_alpha": 8, "target_modules": ["c_attn"], "fan_in_fan_out": True}
    (folder / SETTINGS).write_text(json.dumps(settings | changes))
    generator = torch.Generator().manual_seed(3)
    start = "base_model.model.transformer.h"
    weights = {}
    for layer in range(3):
        for part, shape in (("lora_A", (4, 32)), ("lora_B", (96, 4))):
            numbers = torch.randn(shape, generator=generator)
            weights[f"{start}.{layer}.attn.c_attn.{part}.weight"] = numbers
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    return folder


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pass the check for the package: only what is checked before its use is tested."""
    monkeypatch.setattr(adapters, "is_peft_available", lambda: True)


@pytest.mark.parametrize("beside", [True, False])
def test_without_the_package(
    beside: bool, gpt_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "is_peft_available", lambda: False)
    folder = tmp_path / "mine"
    if beside:
        shutil.copytree(gpt_folder, folder)
    adapter_folder(folder, "org/base")
    where = "beside a model" if beside else "for the model 'org/base'"
    with pytest.raises(ModelNotSupported, match=f"{where}.*pip install peft.*base model alone"):
        attnviz.load(str(folder))


@pytest.mark.usefixtures("present")
def test_a_base_that_is_not_there(gpt_folder: Path, tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "mine", "/no/such/base")
    with pytest.raises(ModelNotFound, match=r"adapter for '/no/such/base', which is not there"):
        attnviz.load(str(folder))
    edit(folder, SETTINGS, base_model_name_or_path=None)
    with pytest.raises(ModelNotFound, match="names no base model"):
        attnviz.load(str(folder))
    edit(folder, SETTINGS, base_model_name_or_path=str(gpt_folder))
    with pytest.raises(ModelNotAllowed, match="its model folders only"):
        attnviz.load(str(folder), allowed_folders=[folder])


@pytest.mark.usefixtures("present")
@pytest.mark.parametrize("kind", ["PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING", None])
def test_adapters_that_are_no_layers(kind: str | None, tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "mine", "org/base", peft_type=kind)
    with pytest.raises(ModelNotSupported, match=f"of the kind {kind}, which attnviz cannot show"):
        attnviz.load(str(folder))


@pytest.mark.usefixtures("present")
def test_broken_adapters(gpt_folder: Path, tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "mine", str(gpt_folder))
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-10])
    with pytest.raises(ModelError, match="is cut off"):
        attnviz.load(str(folder))
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    with pytest.raises(ModelError, match="is a pickle"):
        attnviz.load(str(folder))
    (folder / "adapter_model.bin").unlink()
    with pytest.raises(ModelError, match=f"no {WEIGHTS}"):
        attnviz.load(str(folder))
    edit(adapter_folder(folder, "org/base"), SETTINGS, megatron_config={"a": 1})
    with pytest.raises(ModelError, match="names a Python package to be imported"):
        attnviz.load(str(folder))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize("beside", [True, False])
def test_with_the_package(beside: bool, gpt_folder: Path, tmp_path: Path) -> None:
    """The weights are those of the library's own run with the adapter; the title names it."""
    peft = pytest.importorskip("peft")
    folder = tmp_path / "mine"
    if beside:
        shutil.copytree(gpt_folder, folder)
    adapter_folder(folder, str(gpt_folder))
    model = attnviz.load(str(folder))
    assert "adapter on" in model.info.title
    capture = attnviz.capture(model, TEXT)
    base = GPT2LMHeadModel.from_pretrained(gpt_folder, attn_implementation="eager")
    theirs = peft.PeftModel.from_pretrained(base, adapter_folder(tmp_path / "alone", None)).eval()
    with torch.inference_mode():
        ids = torch.tensor([capture.inputs.ids])
        expected = theirs(input_ids=ids, output_attentions=True).attentions
    ours = all_weights(capture["self"])
    for mine, layer in zip(ours, expected, strict=True):
        np.testing.assert_allclose(mine, layer[0].numpy(), atol=5e-5)
    alone = attnviz.capture(attnviz.load(str(gpt_folder)), TEXT)
    assert np.abs(all_weights(alone["self"]) - ours).max() > 0.1
    instrumented = attnviz.instrument(theirs, model.tokenizer)
    np.testing.assert_allclose(
        all_weights(attnviz.capture(instrumented, TEXT)["self"]), ours, atol=5e-5
    )


def test_a_classifier_predicts_no_tokens_with_the_package(gpt_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    folder = adapter_folder(tmp_path / "mine", str(gpt_folder), task_type="SEQ_CLS")
    assert not attnviz.load(str(folder)).predicts


def test_an_adapter_that_does_not_fit_with_the_package(gpt_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    folder = adapter_folder(tmp_path / "mine", str(gpt_folder), r=8)
    with pytest.raises(ModelError, match=r"lora_A.*shape \(4, 32\) in the file and \(8, 32\)"):
        attnviz.load(str(folder))
    edit(folder, SETTINGS, r=4, target_modules=["c_attn", "c_proj"])
    with pytest.raises(ModelError, match=r"c_proj\.lora_A.*is missing"):
        attnviz.load(str(folder))
