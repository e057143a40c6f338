"""Configurations of models that no machine can hold are refused before anything is built."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

import attnviz
from attnviz import Model
from attnviz.errors import AttnvizError, LoadCancelled, ModelError
from attnviz.models import cancellable
from attnviz.models.loading import free_memory, model_size
from attnviz.models.loading.build_lock import building
from attnviz.models.loading.model_size import check_configuration, check_files, check_model
from tests.zoo import ARCHITECTURES, Pair

CPU = torch.device("cpu")


@pytest.fixture
def configured(gpt_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """`configured(n_layer=...)`: a copy of the small GPT-2 with another configuration."""

    def change(**changes: Any) -> Path:
        folder = Path(shutil.copytree(gpt_folder, tmp_path / "mine"))
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))
        return folder

    return change


HUGE = {
    "a million layers": ({"n_layer": 10**6}, r"1,000,000 layers .*up to 512"),
    "a million heads": ({"n_head": 10**6}, r"1,000,000 heads .*up to 65,536"),
    "a wide model": ({"n_embd": 10**6, "n_head": 1}, r"parameters in 3 layers and needs .* GB in"),
    "a large vocabulary": ({"vocab_size": 10**11}, r"3,200,\d\d\d,\d\d\d,\d\d\d parameters"),
    "many positions": ({"n_positions": 10**9}, r"1,000,000,000 positions of 32 numbers each"),
    "beyond 64 bits": ({"vocab_size": 10**30}, "could not be loaded"),
    "below zero": ({"n_embd": -8}, "could not be loaded"),
    "another type's layers": (
        {"model_type": "llama", "num_hidden_layers": 10**6, "num_attention_heads": 8},
        "1,000,000 layers",
    ),
}


@pytest.mark.parametrize(("changes", "said"), HUGE.values(), ids=HUGE)
def test_huge_configurations(
    configured: Callable[..., Path], changes: dict[str, Any], said: str
) -> None:
    began = time.monotonic()
    with pytest.raises(ModelError, match=said) as caught:
        attnviz.load(str(configured(**changes)))
    assert time.monotonic() - began < 20
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("distilbert", {"max_position_embeddings": 10**9, "sinusoidal_pos_embds": True}),
        ("distilbert", {"max_position_embeddings": 10**9, "rope_parameters": {}, "dim": 64}),
        ("vit", {"image_size": 10**6}),
        ("vit", {"image_size": [10**6, 10**6]}),
        ("vit", {"image_size": 8000, "patch_size": 1}),
        ("whisper", {"max_source_positions": 10**9}),
        ("whisper", {"decoder_layers": 10**6}),
        ("t5", {"num_decoder_layers": 10**6}),
        ("clip", {"text_config": {"num_hidden_layers": 10**6}}),
        ("mixtral", {"num_attention_heads": 10**9}),
    ],
)
def test_settings_of_other_types(model_type: str, changes: dict[str, Any]) -> None:
    began = time.monotonic()
    with pytest.raises(ModelError, match="attnviz loads models with up to"):
        check_configuration(AutoConfig.for_model(model_type, **changes), "mine")
    assert time.monotonic() - began < 20


def test_many_small_modules_end_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_size, "MODULES", 500)
    config = AutoConfig.for_model("gpt2", n_layer=400, n_embd=8, n_head=1, vocab_size=10)
    with pytest.raises(ModelError, match="more than 500 modules"):
        check_model(AutoModelForCausalLM.from_config, config, torch.float32, CPU, "mine")
    assert not torch.empty(1).is_meta


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_real_models_pass_and_their_parameters_are_counted(
    zoo: Callable[[str], Pair], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One byte less than a model needs refuses it, with the number of its parameters."""
    network = zoo(name).model.network
    config = network.config
    check_configuration(config, name)
    tensors = [*network.parameters(), *network.buffers()]
    needed = sum(one.numel() for one in tensors) * 4
    monkeypatch.setattr(model_size, "free_bytes", lambda device: needed)
    check_model(type(network), config, torch.float32, CPU, name)
    monkeypatch.setattr(model_size, "free_bytes", lambda device: needed - 1)
    with pytest.raises(ModelError, match=f"{network.num_parameters():,} parameters"):
        check_model(type(network), config, torch.float32, CPU, name)


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 2), ("float64", 8)])
def test_files_larger_than_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, size: int
) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(30, 10, dtype=torch.float16), "b": torch.zeros(7)}, path)
    kind = getattr(torch, dtype)
    monkeypatch.setattr(model_size, "free_bytes", lambda device: 307 * size)
    check_files([path], kind, CPU, "mine")
    monkeypatch.setattr(model_size, "free_bytes", lambda device: 307 * size - 1)
    written = {2: "614 bytes", 4: "1.23 kB", 8: "2.46 kB"}[size]
    with pytest.raises(ModelError, match=rf"307 parameters and needs {written} in {dtype}"):
        check_files([path], kind, CPU, "mine")


def test_free_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = free_memory.free_bytes(CPU)
    assert free is not None
    assert 1 << 20 < free < 1 << 50
    for file, content in {
        "memory.max": "1000\n",
        "memory.current": "900\n",
        "memory.stat": "anon 500\ninactive_file 300\n",
    }.items():
        (tmp_path / file).write_text(content)
    monkeypatch.setattr(free_memory, "GROUP", tmp_path)
    assert free_memory.free_bytes(CPU) == 400
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory.free_bytes(CPU) == pytest.approx(free, rel=0.5)
    monkeypatch.setattr(free_memory, "MEMINFO", tmp_path / "missing")
    assert free_memory.free_bytes(CPU) is not None


def test_a_build_ends_when_it_is_no_longer_wanted(
    configured: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is free soon after, and torch is as it was."""
    folder = str(configured(n_layer=500))
    began = time.monotonic()
    with pytest.raises(LoadCancelled):
        attnviz.load(folder, wanted=lambda: time.monotonic() - began < 1)
    assert time.monotonic() - began < 5
    free = threading.Event()

    def build() -> None:
        with building():
            free.set()

    thread = threading.Thread(target=build)
    thread.start()
    thread.join(timeout=5)
    assert free.is_set()


def test_a_pass_ends_when_the_load_is_no_longer_wanted(gpt: Model) -> None:
    """Loading ends with passes over a probe, and those of a large model may take minutes."""
    times: list[float] = []

    def wanted() -> bool:
        times.append(time.monotonic())
        return len(times) < 2

    with pytest.raises(LoadCancelled), cancellable(wanted):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            attnviz.capture(gpt, "The cat sat.")
    assert times[1] - times[0] < 5
    assert attnviz.capture(gpt, "The cat sat.")["self"].shape[0] == 3


def test_after_cancelled_loads_others_succeed(gpt_folder: Path) -> None:
    for moment in (0.0, 0.05, 0.1, 0.2, 0.4):
        began = time.monotonic()
        with contextlib.suppress(LoadCancelled):
            attnviz.load(
                str(gpt_folder),
                wanted=lambda began=began, moment=moment: time.monotonic() - began < moment,
            )
    model = attnviz.load(str(gpt_folder))
    assert attnviz.verify(attnviz.capture(model, "The cat sat.")).holds
    assert not torch.empty(1).is_meta


numbers = st.integers(-(10**12), 10**12) | st.sampled_from([0, 1, 10**30]) | st.floats() | st.text()


@given(
    st.dictionaries(
        st.sampled_from(
            ["n_layer", "n_head", "n_embd", "n_positions", "vocab_size", "n_inner", "image_size"]
        ),
        numbers,
        min_size=1,
    )
)
def test_whatever_numbers_a_configuration_has(changes: dict[str, Any]) -> None:
    """Either bounded, or refused with a sentence; never built at length."""
    try:
        config = AutoConfig.for_model("gpt2", **changes)
    except Exception:  # the library refuses many itself, and `load` explains that
        return
    try:
        check_configuration(config, "mine")
    except AttnvizError as error:
        assert "attnviz loads models with up to" in str(error)
    else:
        assert not isinstance(config.n_layer, int) or config.n_layer <= 512
