"""Folders broken by a download, a copy or a training script: the message names the cause."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import attnviz
from attnviz.errors import ModelError
from attnviz.models.tokenizers import tokenizer_check
from tests.models.small import edit, saved

WEIGHTS = "model.safetensors"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12345\n"
HTML = b"\n<!DOCTYPE html><html><head><title>404</title></head></html>"
Break = Callable[[Path], object]


@pytest.fixture
def folder(gpt_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(gpt_folder, tmp_path / "mine"))


def put(name: str, content: bytes) -> Break:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    return write


def cut(share: float) -> Break:
    def write(folder: Path) -> None:
        content = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes(content[: int(len(content) * share)])

    return write


FILES: dict[str, tuple[Break, str]] = {
    "weights as a pointer": (put(WEIGHTS, LFS), r"Git LFS pointer.*git lfs pull"),
    "weights as a page": (put(WEIGHTS, HTML), "web page"),
    "weights as a message": (put(WEIGHTS, b'{"error": "Not found"}'), "is JSON, perhaps an error"),
    "weights of nothing": (put(WEIGHTS, b""), r"is empty \(0 bytes\)"),
    "weights of zeros": (put(WEIGHTS, bytes(5000)), "holds zeros only"),
    "weights as a zip": (put(WEIGHTS, b"PK\x03\x04" + b"x" * 99), "zip archive or a pickle"),
    "weights compressed": (put(WEIGHTS, b"\x1f\x8b" + b"x" * 99), "compressed file; unpack it"),
    "weights as GGUF": (put(WEIGHTS, b"GGUF" + b"x" * 99), "GGUF file"),
    "weights cut in the middle": (cut(0.5), r"cut off: it has [\d,]+ bytes of [\d,]+"),
    "weights cut at the start": (cut(0.01), r"cut off: it has [\d,]+ bytes of [\d,]+"),
    "configuration as a pointer": (put("config.json", LFS), r"config\.json.*Git LFS pointer"),
    "configuration as a page": (put("config.json", HTML), r"config\.json.*web page"),
    "configuration of nothing": (put("config.json", b""), r"config\.json.*is empty"),
    "configuration with a mark": (put("config.json", b"\xef\xbb\xbf{}"), "UTF-8 BOM"),
    "configuration with a comma": (put("config.json", b'{"n_head": 4,}'), "cannot be read as JSON"),
    "tokenizer as a pointer": (put("tokenizer.json", LFS), r"tokenizer\.json.*Git LFS pointer"),
    "tokenizer as a page": (put("tokenizer.json", HTML), r"tokenizer\.json.*web page"),
    "tokenizer of nothing": (put("tokenizer.json", b""), r"tokenizer\.json.*is empty"),
    "vocabulary as a pointer": (put("tokenizer.model", LFS), r"tokenizer\.model.*Git LFS pointer"),
    "index as a page": (
        lambda folder: ((folder / WEIGHTS).unlink(), put(f"{WEIGHTS}.index.json", HTML)(folder)),
        "web page",
    ),
}


@pytest.mark.parametrize(("broken", "said"), FILES.values(), ids=FILES.keys())
def test_files_that_are_not_what_their_name_says(folder: Path, broken: Break, said: str) -> None:
    broken(folder)
    with pytest.raises(ModelError, match=said):
        attnviz.load(str(folder))


PREFIXES = {
    "module.": "DataParallel",
    "_orig_mod.": r"torch\.compile",
    "module._orig_mod.": "DataParallel",
    "base_model.model.": "PEFT",
    "_fsdp_wrapped_module.": "FSDP",
    "model.": "a training module",
    "net.gpt.": "",
}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_names_with_the_prefix_of_a_wrapper(folder: Path, prefix: str) -> None:
    weights = {f"{prefix}{key}": value for key, value in load_file(folder / WEIGHTS).items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ModelError) as caught:
        attnviz.load(str(folder))
    said = str(caught.value)
    assert f"begin with '{prefix}'" in said
    assert "Save the model inside the wrapper" in said
    assert PREFIXES[prefix].replace("\\", "") in said


@pytest.mark.parametrize(
    ("changes", "weight", "theirs", "ours"),
    [
        ({"vocab_size": 999}, "transformer.wte.weight", "(360, 32)", "(999, 32)"),
        ({"n_positions": 256}, "transformer.wpe.weight", "(160, 32)", "(256, 32)"),
        ({"n_embd": 64}, "transformer.h.0.attn.c_attn.bias", "(96,)", "(192,)"),
    ],
)
def test_weights_of_other_shapes(
    folder: Path, changes: dict[str, int], weight: str, theirs: str, ours: str
) -> None:
    words = load_file(folder / WEIGHTS)["transformer.wte.weight"].shape[0]
    edit(folder, **changes)
    with pytest.raises(ModelError) as caught:
        attnviz.load(str(folder))
    said = str(caught.value)
    assert f"{weight} has the shape {theirs.replace('360', str(words))} in the file" in said
    assert f"and {ours} by the configuration" in said


def test_a_configuration_of_another_type(folder: Path) -> None:
    edit(folder, model_type="bert", architectures=["BertForMaskedLM"])
    with pytest.raises(ModelError, match=r"other weights, such as.*type 'bert'.*another model"):
        attnviz.load(str(folder))


def test_more_layers_than_the_file_has(folder: Path) -> None:
    edit(folder, n_layer=4)
    with pytest.raises(ModelError, match=r"incomplete: transformer\.h\.3\..* is missing, and"):
        attnviz.load(str(folder))


def test_fewer_layers_than_the_file_has(folder: Path) -> None:
    edit(folder, n_layer=2)
    said = r"more layers.*h\.2\..* and \d+ more; use the config\.json that was saved with"
    with pytest.raises(ModelError, match=said):
        attnviz.load(str(folder))


def test_a_part_of_the_weights_is_missing(folder: Path) -> None:
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, max_shard_size="50KB")
    (folder / WEIGHTS).unlink()
    parts = sorted(folder.glob("model-*.safetensors"))
    parts[1].write_bytes(LFS)
    with pytest.raises(ModelError, match=f"{parts[1].name}.*Git LFS pointer"):
        attnviz.load(str(folder))
    parts[1].unlink()
    with pytest.raises(ModelError, match=f"names '{parts[1].name}', which is missing"):
        attnviz.load(str(folder))


def moved(folder: Path, sub: str, *names: str) -> None:
    (folder / sub).mkdir()
    for path in [folder / name for name in names] or list(folder.iterdir()):
        if path.is_file():
            path.rename(folder / sub / path.name)


def replaced(name: str) -> Break:
    return lambda folder: ((folder / WEIGHTS).unlink(), put(name, b"x")(folder))


FOLDERS: dict[str, tuple[Break, str]] = {
    "checkpoints": (lambda folder: moved(folder, "checkpoint-500"), "'checkpoint-500'; give one"),
    "a subfolder": (lambda folder: moved(folder, "sub", WEIGHTS), "weights in its folder 'sub'"),
    "a training alone": (replaced("optimizer.pt"), r"state of a training \(optimizer\.pt\)"),
    "ONNX": (replaced("model.onnx"), "ONNX export"),
    "ONNX in a folder": (replaced("onnx/model.onnx"), "ONNX export"),
    "TensorFlow": (replaced("tf_model.h5"), "TensorFlow weights"),
    "Flax": (replaced("flax_model.msgpack"), "Flax weights"),
    "GGUF": (replaced("model-q4.gguf"), "a GGUF file"),
    "a pickle": (replaced("pytorch_model.bin"), "a pickle"),
    "another name": (
        lambda folder: (folder / WEIGHTS).rename(folder / "weights.safetensors"),
        r"weights\.safetensors, but neither",
    ),
    "no tokenizer": (
        lambda folder: [path.unlink() for path in folder.glob("tokenizer*")],
        "without a tokenizer",
    ),
    "half a tokenizer": (
        lambda folder: (folder / "tokenizer.json").unlink(),
        r"without a tokenizer.*expected a tokenizer\.json",
    ),
}


@pytest.mark.parametrize(("broken", "said"), FOLDERS.values(), ids=FOLDERS.keys())
def test_folders_that_hold_something_else(folder: Path, broken: Break, said: str) -> None:
    broken(folder)
    with pytest.raises(ModelError, match=said):
        attnviz.load(str(folder))


@pytest.mark.parametrize(
    ("start", "missing", "said"),
    [
        (b"\n\x0e", ("sentencepiece", "google.protobuf"), "pip install sentencepiece protobuf"),
        (b"\n\x0e", ("google.protobuf", "tiktoken"), "pip install protobuf"),
        (b"IQ== 0\n", ("tiktoken",), "pip install tiktoken"),
    ],
)
def test_a_vocabulary_whose_package_is_missing(
    folder: Path,
    start: bytes,
    missing: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(start)
    monkeypatch.setattr(tokenizer_check, "_is_installed", lambda one: one not in missing)
    with pytest.raises(ModelError, match=f"file tokenizer.model.*{said}$"):
        attnviz.load(str(folder))


def test_a_training_beside_its_model_does_not_matter(folder: Path) -> None:
    for name in ("optimizer.pt", "scheduler.pt", "training_args.bin", "rng_state.pth"):
        (folder / name).write_bytes(b"never opened")
    (folder / "trainer_state.json").write_text("{}")
    assert attnviz.load(str(folder)).predicts


def test_a_vocabulary_that_begins_with_an_angle_bracket(tmp_path: Path) -> None:
    """A special token in the first line of vocab.txt is no web page."""
    name = saved(tmp_path, "BertForMaskedLM", "Bert")
    (tmp_path / "vocab.txt").write_text("<s>\n<pad>\n")
    assert attnviz.load(name).predicts


def test_the_weights_are_those_of_the_file_afterwards(folder: Path) -> None:
    """A check that reads headers changes nothing: the loaded numbers are the file's."""
    stored = load_file(folder / WEIGHTS)
    for name, weights in attnviz.load(str(folder)).network.named_parameters():
        assert torch.equal(weights, stored[name]), name
