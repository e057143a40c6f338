"""Model names: which folder a name stands for, and whether that folder may be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attnviz.errors import ModelNotAllowed, ModelNotFound
from attnviz.models.folders.other_folders import ADAPTER, what_instead

__all__ = ["local_folder", "readable"]

LONGEST_NAME = 1000  # characters of a path; hub names have at most 96


def readable(name: str) -> str:
    """Return the name without spaces around it; raise an error if it cannot be a name."""
    name = name.strip()
    if not name:
        raise ModelNotFound(
            "no model name was given; choose a listed model, a folder, or a hub name (org/model)"
        )
    if len(name) > LONGEST_NAME or not name.isprintable():
        start = "".join(
            one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in name[:40]
        )
        raise ModelNotFound(
            f"'{start}' is no model name (it has {len(name)} characters, or invisible ones)"
            "; choose a listed model, a folder, or a hub name (org/model)"
        )
    return name


def local_folder(name: str, allowed: Sequence[str | Path] | None) -> Path | None:
    """Return the folder that a name points to, or None if it can only be a hub id."""
    looks_local = name.startswith((".", "/", "~", "\\")) or "\\" in name or name.count("/") > 1
    try:
        path: Path | None = Path(name).expanduser().resolve()
        there = path is not None and path.exists()
    except (OSError, RuntimeError, ValueError):  # too long, a user without a home, a loop of links
        path, there = None, False
    if not looks_local and not there:
        return None
    if allowed is not None:
        roots = [Path(root).expanduser().resolve() for root in allowed]
        # The same answer whether or not the path exists: a stranger learns nothing about the disk.
        # And no way around it through the hub's name for the same thing: the library, too, looks
        # for a folder first.
        if path is None or not any(path.is_relative_to(root) for root in roots):
            raise ModelNotAllowed(
                "this server loads models from its model folders only; "
                "choose a listed model or a hub name such as org/model"
            )
    if path is None or not path.is_dir():
        raise ModelNotFound(f"there is no folder '{name}'; give a folder with a config.json")
    if not (path / "config.json").is_file() and not (path / ADAPTER).is_file():
        other = what_instead(path)
        raise ModelNotFound(
            f"'{name}' has no config.json; "
            + (other or "expected a folder as `save_pretrained` writes it")
        )
    return path
