"""Files that a command writes at its end: checked before the long part, written one by one."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from attnviz.cli.screen import say
from attnviz.errors import AttnvizError, InputError

__all__ = ["chosen_files", "write_files"]


def chosen_files(options: argparse.Namespace, *names: str) -> dict[str, Path]:
    """Return the files that options name, by the name of the option.

    Raises:
        InputError: a file could not be written when the work is done: a folder is missing, a path
            is a folder or not writable, or two are the same.
    """
    files = {name: Path(path) for name in names if (path := getattr(options, name)) is not None}
    _check_places(list(files.values()))
    return files


def _check_places(paths: list[Path]) -> None:
    for number, path in enumerate(paths):
        try:
            folder, there = path.absolute().parent, path.exists()
            missing, taken = not folder.is_dir(), path.is_dir()
            # A file is written beside its older version first; a device or a pipe is not.
            written = [path, folder] if path.is_file() else [path] if there else [folder]
        except (OSError, ValueError) as error:  # too long for a name, or no name at all
            raise InputError(f"no file can be called that: {error}") from error
        if missing:
            raise InputError(f"there is no folder '{path.parent}' for '{path.name}'; make it first")
        if taken:
            raise InputError(f"'{path}' is a folder; give the name of a file")
        if not all(os.access(one, os.W_OK) for one in written):
            raise InputError(f"'{path}' may not be written by you; choose another place")
        if path.resolve() in [one.resolve() for one in paths[:number]]:
            raise InputError(f"'{path}' stands for two files; give each file another name")


def write_files(files: Mapping[Path, Callable[[Path], None]]) -> bool:
    """Write each file and return True if all were written.

    A file that fails, for instance on a full disk, does not prevent the others.
    """
    written = [_write(path, write) for path, write in files.items()]
    return all(written)


def _write(path: Path, write: Callable[[Path], None]) -> bool:
    try:
        write(path)
    except (OSError, AttnvizError) as error:
        say(f"'{path}' could not be written: {getattr(error, 'strerror', None) or error}")
        return False
    say(f"wrote '{path}'")
    return True
