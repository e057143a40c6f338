"""Models in local folders: loaded when they are sound and allowed, refused in words otherwise."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import attnviz
from attnviz.errors import (
    AttnvizError,
    ModelError,
    ModelNotAllowed,
    ModelNotFound,
    ModelNotSupported,
    ModelUnsafe,
)


@pytest.fixture
def copy(gpt_folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the small GPT-2 to spoil."""
    return Path(shutil.copytree(gpt_folder, tmp_path / "models" / "mine"))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*unused: Any, **options: Any) -> None:
        raise AssertionError("a local model must not touch the network")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_a_folder_loads_without_a_network(copy: Path) -> None:
    model = attnviz.load(str(copy))
    digest = hashlib.sha256((copy / "model.safetensors").read_bytes()).hexdigest()
    info = model.info
    assert (info.source, info.model_type, info.family) == ("folder", "gpt2", "decoder")
    assert info.revision == digest[: len(info.revision)]
    assert len(info.revision) >= 12
    assert info.heads == {"self": (3, 4)}
    assert info.key_heads == {"self": 4}
    assert info.max_tokens == 160
    assert (info.device, info.dtype) == ("cpu", "float32")
    assert info.parameters == sum(one.numel() for one in model.network.parameters())
    assert not model.network.training


@pytest.mark.usefixtures("no_network")
def test_a_shipped_model_loads_without_a_network() -> None:
    assert attnviz.load("t5-classroom").info.source == "classroom"


def test_spaces_around_a_name_do_not_matter(copy: Path) -> None:
    assert attnviz.load(f"  {copy}\n").info.source == "folder"


def test_other_weights_are_another_revision(copy: Path) -> None:
    before = attnviz.load(str(copy)).info.revision
    weights = load_file(copy / "model.safetensors")
    weights["transformer.wte.weight"][0, 0] += 1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert attnviz.load(str(copy)).info.revision != before


class Trap:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth"])
def test_pickled_weights_are_refused_and_never_read(copy: Path, name: str) -> None:
    sprung = copy.parent / "sprung"
    (copy / "model.safetensors").unlink()
    (copy / name).write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ModelUnsafe, match=rf"only {name}, a pickle.*safe_serialization"):
        attnviz.load(str(copy))
    assert not sprung.exists()


def test_a_pickle_beside_safetensors_is_left_alone(copy: Path) -> None:
    sprung = copy.parent / "sprung"
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(sprung)))
    attnviz.load(str(copy))
    assert not sprung.exists()


def test_safetensors_of_something_else_do_not_let_a_pickle_in(copy: Path) -> None:
    """The file's name is what the library looks for, not its ending."""
    sprung = copy.parent / "sprung"
    (copy / "model.safetensors").rename(copy / "adapter_model.safetensors")
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ModelError):
        attnviz.load(str(copy))
    assert not sprung.exists()


def test_foreign_code_is_not_run(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "mine.py").write_text(f"open({str(copy.parent / 'sprung')!r}, 'w')")
    with pytest.raises(ModelNotSupported, match="comes with code, which attnviz does not run"):
        attnviz.load(str(copy))
    assert not (copy.parent / "sprung").exists()


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"no folder '.*nowhere'.*config\.json"):
        attnviz.load(str(tmp_path / "nowhere"))


def test_a_folder_without_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"no config\.json; expected a folder"):
        attnviz.load(str(tmp_path))


def test_a_folder_without_weights(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelNotFound, match=r"no \*\.safetensors weights"):
        attnviz.load(str(copy))


def test_a_file_is_not_a_folder(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError):
        attnviz.load(str(copy / "config.json"))
    monkeypatch.chdir(copy)
    with pytest.raises(ModelError):
        attnviz.load("config.json")


BROKEN = {
    "not json": ("config.json", b"{"),
    "a list": ("config.json", b"[]"),
    "another type": ("config.json", b'{"model_type": "unknown-type"}'),
    "no type": ("config.json", b"{}"),
    "a word for a number": ("config.json", b'{"model_type": "gpt2", "n_embd": "many"}'),
    "no heads": ("config.json", b'{"model_type": "gpt2", "n_head": 0}'),
    "not utf-8": ("config.json", b"\xff\xfe\x00"),
    "weights cut": ("model.safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"),
    "weights of nothing": ("model.safetensors", b""),
    "tokenizer not json": ("tokenizer.json", b"{"),
    "tokenizer settings not json": ("tokenizer_config.json", b"{"),
    "generation settings not json": ("generation_config.json", b"{"),
    "known heads not json": ("heads.json", b"{"),
    "known heads of another shape": ("heads.json", b'[{"kind": "self"}]'),
}


@pytest.mark.parametrize(("file", "content"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_files_get_a_sentence(copy: Path, file: str, content: bytes) -> None:
    (copy / file).write_bytes(content)
    try:
        attnviz.load(str(copy))
    except AttnvizError as error:
        assert len(str(error)) > 20
        assert "\n" not in str(error)
    else:
        assert file in ("generation_config.json", "tokenizer_config.json")


def test_missing_weights_are_never_made_up(copy: Path) -> None:
    """The library fills gaps with random numbers; attention of those means nothing."""
    weights = load_file(copy / "model.safetensors")
    del weights["transformer.h.1.attn.c_attn.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"h\.1\.attn\.c_attn\.weight"):
        attnviz.load(str(copy))


def test_weights_of_another_shape(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    weights["transformer.h.1.attn.c_attn.weight"] = torch.zeros(2, 2)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError):
        attnviz.load(str(copy))


ALLOWED_MESSAGE = "its model folders only"


def test_a_folder_inside_the_allowed_ones(copy: Path) -> None:
    for allowed in ([copy.parent], [str(copy)], ["/nowhere", copy.parent.parent]):
        assert attnviz.load(str(copy), allowed_folders=allowed).info.source == "folder"


@pytest.mark.parametrize("disguise", ["absolute", "dots", "link", "missing", "beside"])
def test_folders_outside_are_refused(copy: Path, tmp_path: Path, disguise: str) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "link").symlink_to(copy)
    shutil.copytree(copy, tmp_path / "allowed-not")
    name = {
        "absolute": str(copy),
        "dots": str(allowed / ".." / "models" / "mine"),
        "link": str(allowed / "link"),
        "missing": str(tmp_path / "models" / "missing"),
        "beside": str(tmp_path / "allowed-not"),  # the same beginning, another folder
    }[disguise]
    with pytest.raises(ModelNotAllowed, match=ALLOWED_MESSAGE) as caught:
        attnviz.load(name, allowed_folders=[allowed])
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["~", "~/models", "~root", "~no-user-of-this-name/x", "/etc", "..", ".", "../..", "a\\b"],
)
def test_paths_of_the_server_are_refused_alike(name: str, tmp_path: Path) -> None:
    """Whether they exist or not: a stranger learns nothing about the disk."""
    with pytest.raises(ModelNotAllowed, match=ALLOWED_MESSAGE):
        attnviz.load(name, allowed_folders=[tmp_path])


@pytest.mark.parametrize("name", ["mine", "models/mine"])
def test_a_folder_that_looks_like_a_hub_name(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The library prefers such a folder to the hub; outside the allowed ones it must not."""
    monkeypatch.chdir(copy.parent if name == "mine" else tmp_path)
    assert attnviz.load(name).info.source == "folder"
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    with pytest.raises(ModelError):
        attnviz.load(name, allowed_folders=[allowed])


def test_no_allowed_folder_at_all(copy: Path) -> None:
    with pytest.raises(ModelNotAllowed):
        attnviz.load(str(copy), allowed_folders=[])
    assert attnviz.load("t5-classroom", allowed_folders=[]).info.source == "classroom"
