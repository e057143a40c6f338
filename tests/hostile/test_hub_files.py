"""Models of the hub: their files are checked like those of a folder, outside the lock."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from transformers import PreTrainedConfig

import attnviz
from attnviz.errors import LoadCancelled, ModelError, ModelNotAllowed, ModelUnsafe
from attnviz.models.folders.weight_files import INDEX, SINGLE
from attnviz.models.loading import hub, load

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def served(gpt_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """`served()`: the folder of 'org/model' on a simulated hub."""
    files = Path(shutil.copytree(gpt_folder, tmp_path / "hub"))
    snapshot = tmp_path / "models--org--model" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)

    def download(name: str, file: str, revision: str | None = None) -> str:
        assert (name, revision) == ("org/model", COMMIT)
        assert ".." not in file
        if not (files / file).exists():
            raise EntryNotFoundError(file)
        return str(shutil.copy(files / file, snapshot / file))

    config = json.loads((files / "config.json").read_text("utf-8")) | {"_commit_hash": COMMIT}
    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(load, "reach", lambda name, revision: None)
    monkeypatch.setattr(
        PreTrainedConfig, "get_config_dict", lambda place, **options: (dict(config), {})
    )
    return lambda: files


def index(files: Path, entry: str) -> None:
    (files / SINGLE).unlink()
    (files / INDEX).write_text(json.dumps({"weight_map": {"transformer.wte.weight": entry}}))


def test_an_index_that_names_a_pickle(served: Callable[[], Path]) -> None:
    index(served(), "pytorch_model.bin")
    with pytest.raises(ModelUnsafe, match=r"pytorch_model\.bin.*no \.safetensors file"):
        attnviz.load("org/model")


@pytest.mark.parametrize(
    "entry", ["../x.safetensors", "/etc/x.safetensors", "a/../../x.safetensors"]
)
def test_an_index_that_names_a_path(served: Callable[[], Path], entry: str) -> None:
    index(served(), entry)
    with pytest.raises(ModelNotAllowed, match="outside its folder"):
        attnviz.load("org/model")


def test_a_model_without_safetensors(served: Callable[[], Path]) -> None:
    """The library would look for a converted copy under another revision than the one shown."""
    (served() / SINGLE).unlink()
    with pytest.raises(ModelUnsafe, match="offers no safetensors weights"):
        attnviz.load("org/model")


def test_a_tokenizer_that_multiplies_texts(served: Callable[[], Path]) -> None:
    path = served() / "tokenizer.json"
    bomb = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer": bomb}))
    with pytest.raises(ModelUnsafe, match="tokenizer of 'org/model' is refused"):
        attnviz.load("org/model")


def test_a_tokenizer_that_names_a_file(served: Callable[[], Path]) -> None:
    (served() / "special_tokens_map.json").write_text('{"tokenizer_file": "/etc/passwd"}')
    with pytest.raises(ModelUnsafe, match="names a file to be opened"):
        attnviz.load("org/model")


def test_a_download_can_be_cancelled(
    served: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[str] = []

    def slow(name: str, file: str, revision: str | None = None) -> str:
        began.append(file)
        raise LocalEntryNotFoundError(file)

    monkeypatch.setattr(hub, "hf_hub_download", slow)
    with pytest.raises(LoadCancelled):
        attnviz.load("org/model", wanted=lambda: not began)
    assert began == [SINGLE]


def test_what_is_not_on_this_machine_is_left_to_the_library(
    served: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*unused: Any, **options: Any) -> str:
        raise LocalEntryNotFoundError("not cached")

    monkeypatch.setattr(hub, "hf_hub_download", missing)
    with pytest.raises(ModelError, match="'org/model'"):
        attnviz.load("org/model")
