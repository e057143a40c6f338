"""Check of a tokenizer before this process uses it, once for each content."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from attnviz.characters import shortened
from attnviz.errors import ModelError, ModelNotSupported, ModelUnsafe
from attnviz.models.folders.damaged_files import in_its_place
from attnviz.models.loading.build_lock import check_wanted
from attnviz.models.tokenizers import tokenizer_trial
from attnviz.written_numbers import duration

__all__ = ["check_tokenizer", "check_tokenizer_files"]

SECONDS = 40.0
"""Most time of a trial; the program limits the processor time to half of it."""

VOCABULARIES = ("tokenizer*.json", "vocab.*", "merges.txt", "*.model", "*.spm")
"""Names of the files that hold a tokenizer's vocabulary."""

PACKED = ("*.model", "*.spm")
SERIALIZED = b"\n"
"""First byte of a SentencePiece model; a file of tiktoken is text."""

INTERVAL = 0.2
KEPT = 256
QUIET = {"RUST_BACKTRACE": "0", "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}

_LOCK = threading.Lock()
_RESULTS: OrderedDict[str, str] = OrderedDict()


def check_tokenizer_files(folder: Path, name: str) -> None:
    """Try the tokenizer.json of a folder, and its other versions, in a process of their own.

    Raises:
        ModelUnsafe: it aborts that process, takes too long, or multiplies texts.
        ModelError: a file of the tokenizer is not what its name says.
        ModelNotSupported: a package that reads the vocabulary is not installed.
        LoadCancelled: the load is no longer wanted.
    """
    for path in sorted(one for pattern in VOCABULARIES for one in folder.glob(pattern)):
        other = in_its_place(path)
        if other is not None:
            raise ModelError(f"the {shortened(path.name)} of '{name}' {other}")
    if not (folder / "tokenizer.json").exists():
        _check_packages(folder, name)
    for path in sorted(folder.glob("tokenizer*.json")):
        if path.name != "tokenizer_config.json":
            _check(path.read_bytes(), name)


def _check_packages(folder: Path, name: str) -> None:
    """Refuse a vocabulary whose package is missing; the library would name another one.

    Raises:
        ModelNotSupported: names the file and the packages to install.
    """
    for path in sorted(one for pattern in PACKED for one in folder.glob(pattern)):
        with path.open("rb") as file:
            serialized = file.read(1) == SERIALIZED
        needed = ("sentencepiece", "google.protobuf") if serialized else ("tiktoken",)
        missing = [one.removeprefix("google.") for one in needed if not _is_installed(one)]
        if missing:
            raise ModelNotSupported(
                f"the tokenizer of '{name}' is the file {shortened(path.name)}, and reading it "
                f"needs a package that is not installed: pip install {' '.join(missing)}"
            )


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path | None, name: str) -> None:
    """Try a tokenizer that the library made of other files than a tokenizer.json.

    Tokenizers without Rust code are not tried: they raise, and do not abort.

    Raises:
        ModelUnsafe, LoadCancelled: as `check_tokenizer_files`.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and (folder is None or not (folder / "tokenizer.json").exists()):
        _check(backend.to_str().encode(), name)


def _check(content: bytes, name: str) -> None:
    key = hashlib.sha256(content).hexdigest()
    with _LOCK:
        reason = _RESULTS.get(key)
    if reason is None:
        try:
            reason = _tried(content)
        except OSError as error:  # a full disk, or no room for another process
            raise ModelError(
                f"the tokenizer of '{name}' could not be tried before use: {error.strerror}; free "
                "disk space or memory and load the model again"
            ) from error
        with _LOCK:
            _RESULTS[key] = reason
            while len(_RESULTS) > KEPT:
                _RESULTS.popitem(last=False)
    if reason:
        raise ModelUnsafe(
            f"the tokenizer of '{name}' is refused: {reason}; take the tokenizer from the model's "
            "original source"
        )


def _tried(content: bytes) -> str:
    """Return why a trial refused a tokenizer, or nothing."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(content)
        given.seek(0)
        with subprocess.Popen(  # noqa: S603 - the program is a file of this package
            [sys.executable, "-I", tokenizer_trial.__file__],
            stdin=given,
            stdout=said,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **QUIET},
        ) as trial:
            try:
                status = _waited(trial)
            finally:
                trial.kill()
        said.seek(0)
        printed = said.read(1000).decode(errors="replace")
    if status is None:
        return f"its trial took longer than {duration(SECONDS)}"
    if status == 0:
        return ""
    if status == tokenizer_trial.REFUSED:
        return shortened(printed, 200)
    return f"it ended the process in which it was tried (status {status})"


def _waited(trial: subprocess.Popen[bytes]) -> int | None:
    """Return the exit status of a trial; None if its time is over."""
    for _ in range(round(SECONDS / INTERVAL)):
        try:
            return trial.wait(timeout=INTERVAL)
        except subprocess.TimeoutExpired:
            check_wanted()
    return None
