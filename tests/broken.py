"""Copies of a saved model with NaN or infinity in a weight."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

__all__ = ["with_number"]


def with_number(
    folder: Path, copy: Path, weight: str, value: float, place: tuple[int | slice, ...]
) -> Path:
    """Copy a folder and put `value` at `place` of the weight whose name ends with `weight`."""
    shutil.copytree(folder, copy)
    file = copy / "model.safetensors"
    weights = load_file(file)
    (name,) = (one for one in weights if one.endswith(weight))
    changed = weights[name].clone()
    changed[place] = value
    save_file(weights | {name: changed}, file, metadata={"format": "pt"})
    return copy
