"""Folders that refer to files elsewhere, hold other files than safetensors, or broken settings."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import attnviz
from attnviz.errors import AttnvizError, ModelError, ModelNotAllowed, ModelNotFound, ModelUnsafe
from attnviz.models.folders.json_files import read_json
from attnviz.models.folders.weight_files import INDEX, SINGLE, check_entries, weight_files


@pytest.fixture
def copy(gpt_folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the small GPT-2 that a test may spoil."""
    return Path(shutil.copytree(gpt_folder, tmp_path / "models" / "mine"))


def write_json(path: Path, **changes: Any) -> None:
    """Change entries of a JSON file, or begin one."""
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | changes))


def sharded(folder: Path) -> list[Path]:
    """Save a folder's weights as two files and an index; return the files."""
    weights = load_file(folder / SINGLE)
    (folder / SINGLE).unlink()
    names = sorted(weights)
    halves = [names[::2], names[1::2]]
    files = [folder / f"model-0000{one}-of-00002.safetensors" for one in (1, 2)]
    mapped = {}
    for file, half in zip(files, halves, strict=True):
        save_file({name: weights[name] for name in half}, file, metadata={"format": "pt"})
        mapped |= dict.fromkeys(half, file.name)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": mapped}))
    return files


def reroute(folder: Path, entry: str) -> None:
    """Make an index name another file for its second half."""
    index = json.loads((folder / INDEX).read_text())
    last = max(index["weight_map"].values())
    for weight, file in index["weight_map"].items():
        if file == last:
            index["weight_map"][weight] = entry
    (folder / INDEX).write_text(json.dumps(index))


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_the_revision_is_the_digest_of_every_file_of_the_index(copy: Path) -> None:
    whole = attnviz.load(str(copy)).network.state_dict()
    files = sharded(copy)
    (copy / "adapter.safetensors").write_bytes(b"not opened, and not part of the revision")
    model = attnviz.load(str(copy))
    expected = hashlib.sha256(files[0].read_bytes() + files[1].read_bytes()).hexdigest()
    assert model.info.revision == expected[:12]
    assert all(torch.equal(whole[name], one) for name, one in model.network.state_dict().items())


@pytest.mark.parametrize("entry", ["weights.bin", "model.pt", "model", "MODEL.SAFETENSORS", ""])
def test_an_index_that_names_another_kind_of_file(copy: Path, entry: str) -> None:
    sprung = copy.parent / "sprung"
    sharded(copy)
    reroute(copy, entry)
    if entry:
        (copy / entry).write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ModelUnsafe, match=r"no \.safetensors file; attnviz opens no others"):
        attnviz.load(str(copy))
    assert not sprung.exists()


def refusal(folder: Path) -> str:
    with pytest.raises(ModelNotAllowed) as caught:
        attnviz.load(str(folder))
    return str(caught.value)


@pytest.mark.parametrize("how", ["relative", "absolute", "dots", "link", "nested", "loop"])
def test_paths_out_of_the_folder_get_one_sentence(copy: Path, tmp_path: Path, how: str) -> None:
    """The sentence does not depend on whether the file exists or may be read."""
    files = sharded(copy)
    there, missing = tmp_path / "there.safetensors", tmp_path / "missing.safetensors"
    shutil.move(files[1], there)
    (copy / "part").mkdir()
    said = set()
    for target in (there, missing, Path.home() / ".ssh/x.safetensors", Path("/proc/x.safetensors")):
        entry = {
            "relative": os.path.relpath(target, copy),
            "absolute": str(target),
            "dots": f"part/../{os.path.relpath(target, copy)}",
        }.get(how, "part/linked.safetensors" if how == "nested" else "linked.safetensors")
        link = copy / ("part" if how == "nested" else ".") / "linked.safetensors"
        link.unlink(missing_ok=True)
        if how in ("link", "nested"):
            link.symlink_to(target)
        if how == "loop":
            link.symlink_to(link)
        reroute(copy, entry)
        said.add(refusal(copy))
    assert len(said) == 1
    assert "there" not in said.pop().replace(str(copy), "")


@pytest.mark.parametrize("name", [SINGLE, "config.json", "tokenizer.json", "heads.json", "x.txt"])
def test_links_out_of_the_folder(copy: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    if (copy / name).exists():
        shutil.move(copy / name, outside)
    else:
        outside.write_text("{}")
    (copy / name).symlink_to(outside)
    there = refusal(copy)
    if name != "config.json":  # without one it is no model folder
        outside.unlink()
        assert refusal(copy) == there
    assert "refers to a file outside its folder" in there


def test_links_inside_the_folder_and_in_the_hub_s_cache(copy: Path, tmp_path: Path) -> None:
    (copy / SINGLE).rename(copy / "weights.safetensors")
    (copy / SINGLE).symlink_to("weights.safetensors")
    expected = attnviz.load(str(copy)).info.revision
    cache = tmp_path / "models--org--mine"
    (cache / "blobs").mkdir(parents=True)
    snapshot = cache / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    for file in copy.iterdir():
        (cache / "blobs" / file.name).write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    assert attnviz.load(str(snapshot)).info.revision == expected
    shutil.move(cache / "blobs", tmp_path / "elsewhere")
    (cache / "blobs").symlink_to(tmp_path / "elsewhere")
    refusal(snapshot)


@pytest.mark.parametrize("name", ["model.fifo", SINGLE, "tokenizer.json"])
def test_a_pipe_is_not_waited_for(copy: Path, name: str) -> None:
    (copy / name).unlink(missing_ok=True)
    os.mkfifo(copy / name)
    with pytest.raises(ModelUnsafe, match="neither a file nor a folder"):
        attnviz.load(str(copy))


def test_a_missing_part(copy: Path) -> None:
    files = sharded(copy)
    files[1].unlink()
    with pytest.raises(ModelNotFound, match=rf"names '{files[1].name}', which is missing"):
        attnviz.load(str(copy))


def test_weights_that_the_configuration_names(copy: Path) -> None:
    expected = attnviz.load(str(copy)).info.revision
    (copy / SINGLE).rename(copy / "mine.safetensors")
    write_json(copy / "config.json", transformers_weights="mine.safetensors")
    assert attnviz.load(str(copy)).info.revision == expected
    write_json(copy / "config.json", transformers_weights="../x.safetensors")
    refusal(copy)
    write_json(copy / "config.json", transformers_weights="adapter_model.bin")
    with pytest.raises(ModelUnsafe, match=r"config\.json.*adapter_model\.bin"):
        attnviz.load(str(copy))


def test_a_distributed_checkpoint_is_refused(copy: Path) -> None:
    shutil.copy(copy / SINGLE, copy / "shard-00001-model-00001-of-00001.safetensors")
    with pytest.raises(ModelError, match="distributed checkpoint; join its parts"):
        attnviz.load(str(copy))


SECRET = "swordfish"


@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize(
    "key",
    ["vocab", "merges", "vocab_file", "merges_file", "tokenizer_file", "gguf_file", "init_inputs"],
)
@pytest.mark.parametrize("kind", ["BertTokenizer", "LlamaTokenizer", "PreTrainedTokenizerFast"])
@pytest.mark.parametrize("usual", [True, False], ids=["with tokenizer.json", "without"])
def test_a_tokenizer_that_names_a_file_elsewhere(
    copy: Path, tmp_path: Path, file: str, key: str, kind: str, usual: bool
) -> None:
    """No text of a file outside becomes a token, and no answer tells whether the file exists."""
    outside = tmp_path / "outside.txt"
    said = []
    if not usual:
        (copy / "tokenizer.json").unlink()
    (copy / "tokenizer_config.json").unlink(missing_ok=True)
    write_json(copy / "tokenizer_config.json", tokenizer_class=kind)
    for there in (True, False):
        outside.write_text(f"{SECRET}\n[UNK]\n") if there else outside.unlink()
        value = [str(outside)] if key == "init_inputs" else str(outside)
        write_json(copy / file, **{key: value})
        try:
            said.append(" ".join(sorted(attnviz.load(str(copy)).tokenizer.get_vocab())))
        except AttnvizError as error:
            said.append(str(error))
    assert said[0] == said[1]
    assert SECRET not in said[0]


def test_paths_that_old_libraries_left_in_the_settings_do_not_matter(copy: Path) -> None:
    write_json(
        copy / "tokenizer_config.json",
        special_tokens_map_file="/home/author/special_tokens_map.json",
        tokenizer_file="/home/author/tokenizer.json",
        vocab_file=None,
    )
    assert attnviz.capture(attnviz.load(str(copy)), "The cat sat.")["self"].shape[2] > 1


DEEP = "[" * 100_000
SETTINGS = {
    "1e400": '{"a": 1e400}',
    "-1e400": '{"a": [-1e400]}',
    "deep list": DEEP,
    "deep closed list": DEEP + "]" * 100_000,
    "deep object": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "list": "[]",
    "text": '"config"',
    "nothing": "",
    "null": "null",
    "half": '{"a": ',
    "long number": '{"a": ' + "9" * 10_000 + "}",
    "zeros": "\0" * 100,
    "surrogate": '{"\\ud800": "\\ud800"}',
}
FILES = ["config.json", "generation_config.json", "tokenizer_config.json", INDEX]


@pytest.mark.parametrize("content", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("file", FILES)
def test_odd_settings_get_a_sentence(copy: Path, file: str, content: str) -> None:
    if file == INDEX:
        sharded(copy)
    (copy / file).write_text(content)
    try:
        attnviz.load(str(copy))
    except AttnvizError as error:
        said = str(error)
        assert file in said or "config" in said or content == SETTINGS["surrogate"]
        assert len(said) < 500
        assert said.isprintable()
    else:
        assert file != INDEX
        assert content == SETTINGS["surrogate"]


HEADS = {
    **SETTINGS,
    "score 1e400": '[{"kind":"self","layer":0,"head":0,"role":"x","label":"y","score":1e400}]',
    "layer 1e400": '[{"kind":"self","layer":1e400,"head":0,"role":"x","label":"y","score":1}]',
    "layer far away": '[{"kind":"self","layer":99,"head":0,"role":"x","label":"y","score":1}]',
    "layer below zero": '[{"kind":"self","layer":-1,"head":0,"role":"x","label":"y","score":1}]',
    "kind unknown": '[{"kind":"other","layer":0,"head":0,"role":"x","label":"y","score":1}]',
    "kind a list": '[{"kind":[],"layer":0,"head":0,"role":"x","label":"y","score":1}]',
    "NaN": '[{"kind":"self","layer":0,"head":0,"role":"x","label":"y","score":NaN}]',
}


@pytest.mark.parametrize("content", HEADS.values(), ids=HEADS)
def test_odd_lists_of_heads(copy: Path, content: str) -> None:
    (copy / "heads.json").write_text(content)
    if content == "[]":
        assert attnviz.load(str(copy)).info.known_heads == ()
        return
    with pytest.raises(ModelError, match=r"heads\.json"):
        attnviz.load(str(copy))


@pytest.mark.parametrize("limit", ["many", "1e400", "null", "[]", "{}", "true", "-1", "0", "1e3"])
def test_odd_limits_of_a_tokenizer(copy: Path, limit: str) -> None:
    value = "many" if limit == "many" else float("inf") if limit == "1e400" else json.loads(limit)
    write_json(copy / "tokenizer_config.json", model_max_length=value)
    text = (copy / "tokenizer_config.json").read_text().replace("Infinity", "1e400")
    (copy / "tokenizer_config.json").write_text(text)
    try:
        model = attnviz.load(str(copy))
    except ModelError as error:
        assert "model_max_length" in str(error) or "1e400" in str(error)
    else:
        assert limit in ("null", "-1", "0", "1e3")
        assert model.info.max_tokens == 160


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.one_of(json_values.map(json.dumps), st.text()).map(str.encode) | st.binary())
def test_whatever_bytes_a_json_file_holds(tmp_path_factory: Any, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(content)
    try:
        parsed = read_json(path)
    except ModelError as error:
        assert str(error).isprintable()
    else:
        assert json.loads(content) == parsed


names = st.text(st.characters(), max_size=300) | st.sampled_from(
    ["..", "/", "a/../../b.safetensors", "~/x.safetensors", "C:\\x.safetensors", "\0.safetensors"]
)


@given(st.lists(names, min_size=1), st.sampled_from(["", ".safetensors"]))
def test_whatever_an_index_names(tmp_path_factory: Any, entries: list[str], end: str) -> None:
    """Either a sentence, or files inside the folder."""
    folder = (tmp_path_factory.getbasetemp() / "indexed").resolve()
    folder.mkdir(exist_ok=True)
    (folder / "inside.safetensors").touch()
    (folder / "config.json").write_text("{}")
    mapped = {str(number): entry + end for number, entry in enumerate(entries)}
    (folder / INDEX).write_text(json.dumps({"weight_map": mapped | {"in": "inside.safetensors"}}))
    try:
        check_entries(folder, "mine")
        files = weight_files(folder, "mine")
    except AttnvizError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 500
    else:
        assert all(path.resolve().is_relative_to(folder) for path in files)
