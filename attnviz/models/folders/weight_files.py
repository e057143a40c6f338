"""Weight files of a model folder: which ones the library opens, and whether it may.

The library takes the names of its weight files from the folder, from an index or config.json.
They are checked here first, so that no other file is opened, whatever the folder says.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from attnviz.characters import shortened
from attnviz.errors import ModelError, ModelNotAllowed, ModelNotFound, ModelUnsafe
from attnviz.models.folders.json_files import SETTINGS, read_object
from attnviz.models.folders.other_folders import TRAINING, what_instead
from attnviz.models.loading.build_lock import check_wanted
from attnviz.models.tokenizers.tokenizer_settings import check_tokenizer_settings

__all__ = [
    "INDEX",
    "SINGLE",
    "check_entries",
    "check_inside",
    "digest",
    "index_entries",
    "weight_files",
]

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SUFFIX = ".safetensors"
INDEX_SUFFIX = ".safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
TEMPLATES = "additional_chat_templates"  # the library opens every file of this subfolder
DISTRIBUTED = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")


def check_entries(folder: Path, name: str) -> None:
    """Refuse a folder with entries that lead out of it, special files, or settings that name files.

    Args:
        folder: resolved path.
        name: what messages call the model.

    Raises:
        ModelNotAllowed: a symbolic link leads out of the folder. The message is the same whether
            the target exists or not.
        ModelUnsafe: an entry is a pipe, socket or device, or the tokenizer's settings name files.
        ModelError: a file of settings cannot be read.
    """
    places = [folder, folder / TEMPLATES] if (folder / TEMPLATES).is_dir() else [folder]
    for place in places:
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.is_symlink():
                    check_inside(folder, Path(entry.path), name)
                elif not entry.is_file() and not entry.is_dir():
                    raise ModelUnsafe(
                        f"'{name}' holds '{shortened(entry.name)}', which is neither a file nor a "
                        "folder; remove it"
                    )
    for setting in SETTINGS:
        if (folder / setting).exists():
            check_tokenizer_settings(setting, read_object(folder / setting), name)


def weight_files(folder: Path, name: str, extra: Sequence[str] = ()) -> tuple[Path, ...]:
    """Return the safetensors files that the library opens for a folder, sorted by name.

    Args:
        folder: resolved path, checked by `check_entries`.
        name: what messages call the model.
        extra: further names that the class of the configuration adds, where such files exist.

    Raises:
        ModelUnsafe: only pickles, or an index that names another kind of file.
        ModelNotAllowed: the index names a file outside the folder, whether it exists or not.
        ModelNotFound: no weights, or a file of the index is missing.
        ModelError: the index cannot be read, or the folder is a distributed checkpoint.
    """
    if any(DISTRIBUTED.match(path.name) for path in folder.glob(f"*{SUFFIX}")):
        raise ModelError(
            f"'{name}' is a distributed checkpoint; join its parts with "
            "model.save_pretrained(folder) first"
        )
    chosen = read_object(folder / "config.json").get("transformers_weights")
    main = _entry(folder, str(chosen), "config.json", name) if chosen is not None else None
    if main is None:
        main = next((folder / one for one in (SINGLE, INDEX) if (folder / one).is_file()), None)
    if main is None:
        raise _no_weights(folder, name)
    files = [main]
    if main.name.endswith(".json"):
        entries = index_entries(main, name)
        files = [_entry(folder, entry, main.name, name) for entry in entries]
    files += [folder / one for one in extra if (folder / one).is_file()]
    return tuple(sorted(set(files)))


def index_entries(index: Path, name: str) -> tuple[str, ...]:
    """Return the file names of an index, sorted.

    Raises:
        ModelUnsafe: a name does not end with .safetensors.
        ModelError: the file is no index.
    """
    mapped = read_object(index).get("weight_map")
    if (
        not isinstance(mapped, dict)
        or not mapped
        or not all(isinstance(one, str) for one in mapped.values())
    ):
        raise ModelError(
            f"the {index.name} of '{name}' is no index: expected a 'weight_map' from the names of "
            "weights to the names of files"
        )
    entries = tuple(sorted(set(mapped.values())))
    for entry in entries:
        _check_suffix(entry, (SUFFIX,), index.name, name)
    return entries


def _check_suffix(entry: str, suffixes: tuple[str, ...], file: str, name: str) -> None:
    if not entry.endswith(suffixes):
        raise ModelUnsafe(
            f"the {file} of '{name}' names '{shortened(entry)}', which is no {SUFFIX} file; "
            "attnviz opens no others, because reading a pickle can run code. Save the model again "
            "with safe_serialization=True"
        )


def check_inside(folder: Path, path: Path, name: str) -> None:
    """Refuse a path that leads out of a folder, with one sentence whether it exists or not.

    Raises:
        ModelNotAllowed: it does, as written or by a symbolic link.
    """
    if not _is_inside(folder, path):
        raise ModelNotAllowed(
            f"'{name}' refers to a file outside its folder, by a path or a symbolic link; attnviz "
            "opens files inside the folder only. Copy the file into the folder"
        )


def _entry(folder: Path, entry: str, file: str, name: str) -> Path:
    """Return the path of a file that another file of the folder names."""
    _check_suffix(entry, (SUFFIX, INDEX_SUFFIX), file, name)
    path = folder / entry
    check_inside(folder, path, name)
    try:
        there = path.is_file()
    except OSError:  # longer than a file name may be
        there = False
    if not there:
        raise ModelNotFound(
            f"the {file} of '{name}' names '{shortened(entry)}', which is missing; copy it into "
            "the folder, or download the model again"
        )
    return path


def _is_inside(folder: Path, path: Path) -> bool:
    """Return whether a path, with all links followed, lies in the folder.

    The hub's cache is the one exception: its folders hold links into the `blobs` beside them.
    """
    try:
        target = path.resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, or no path at all
        return False
    cached = folder.parent.name == "snapshots" and target.parent == folder.parents[1] / "blobs"
    return target.is_relative_to(folder) or cached


def _no_weights(folder: Path, name: str) -> ModelError:
    names = (path.name for pattern in PICKLES for path in folder.glob(pattern))
    pickles = sorted(one for one in names if not one.startswith(TRAINING))
    if pickles:
        return ModelUnsafe(
            f"'{name}' has only {shortened(pickles[0])}, a pickle: reading it could run a "
            "stranger's code. Convert it to safetensors where you trust it: "
            "model.save_pretrained(folder, safe_serialization=True)"
        )
    others = sorted(path.name for path in folder.glob(f"*{SUFFIX}"))
    if others:
        return ModelNotFound(
            f"'{name}' has {shortened(others[0])}, but neither {SINGLE} nor {INDEX}; rename the "
            "file, or save the model again"
        )
    other = what_instead(folder)
    return ModelNotFound(
        f"'{name}' has a config.json but no *.safetensors weights" + (f"; {other}" if other else "")
    )


def digest(files: Sequence[Path]) -> str:
    """Return a short name for the exact weights in these files: the start of their SHA-256.

    Raises:
        LoadCancelled: the load is no longer wanted.
    """
    sha = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                sha.update(part)
                check_wanted()
    return sha.hexdigest()[:12]
