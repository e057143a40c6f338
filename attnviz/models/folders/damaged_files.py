"""Files that are not what their names say: found from their first bytes and their length."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from attnviz.characters import shortened
from attnviz.errors import ModelError

__all__ = ["check_intact", "in_its_place"]

LOOKED_AT = 512  # bytes from the start of a file
HEADER = 100 << 20  # bytes; the longest header that the safetensors library reads
AGAIN = "download or copy the file again"

SIGNATURES: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    (
        (b"version https://git-lfs",),
        "a Git LFS pointer, which only names the file it stands for",
        "fetch the file itself with `git lfs pull`",
    ),
    (
        (b"<!doctype", b"<html", b"<?xml", b"<head", b"<error"),
        "a web page (HTML or XML)",
        "download the file itself, not the page about it",
    ),
    ((b"GGUF",), "a GGUF file", "attnviz reads safetensors: take the original model"),
    ((b"\x89HDF",), "an HDF5 file (Keras)", "save the model from PyTorch with save_pretrained"),
    ((b"PK\x03\x04",), "a zip archive or a pickle of PyTorch", "save it with save_pretrained"),
    ((b"\x80\x02", b"\x80\x03", b"\x80\x04"), "a pickle", "save it with save_pretrained"),
    ((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"), "a compressed file", "unpack it"),
)
"""First bytes, what such a file is, and what to do."""


def in_its_place(path: Path) -> str | None:
    """Return what a file is in place of what its name says, and what to do; None if unknown.

    Only for files that could not be read as what they should be.
    """
    with path.open("rb") as file:
        start = file.read(LOOKED_AT)
    if not start:
        return f"is empty (0 bytes); {AGAIN}"
    if not start.strip(b"\0"):
        return f"holds zeros only, as after a download that broke off; {AGAIN}"
    bare = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for signs, what, advice in SIGNATURES:
        if start.startswith(signs) or bare.startswith(signs):
            return f"is {what}; {advice}"
    return None


def check_intact(files: Sequence[Path], name: str) -> None:
    """Refuse weight files that are no safetensors, or are cut off.

    Raises:
        ModelError: names the file, what it is, and what to do.
    """
    for path in files:
        reason = _broken(path)
        if reason is not None:
            raise ModelError(f"the {shortened(path.name)} of '{name}' {reason}")


def _broken(path: Path) -> str | None:
    """Return why a file cannot be read as safetensors; None if its header and length agree."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, HEADER):
            reason = in_its_place(path)
            if reason is not None:
                return reason
            if size >= 8 and file.read(1) == b"{" and length <= HEADER:
                return _cut_off(size, 8 + length)
            file.seek(0)
            if file.read(1) == b"{":
                return f"is JSON, perhaps an error message of a server; {AGAIN}"
            return f"is no safetensors file; {AGAIN}"
        try:
            header = json.loads(file.read(length))
            ends = [one["data_offsets"][1] for key, one in header.items() if key != "__metadata__"]
            expected = 8 + length + max(ends, default=0)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            return in_its_place(path) or f"has a damaged header; {AGAIN}"
    if size < expected:
        return _cut_off(size, expected)
    if size > expected:
        return f"has {size - expected:,} bytes more than its header says; {AGAIN}"
    return None


def _cut_off(size: int, expected: int) -> str:
    return f"is cut off: it has {size:,} bytes of {expected:,}; {AGAIN}"
