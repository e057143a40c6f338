"""Positions that are no words: the patches of a picture, the moments of a sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedConfig

from attnviz.types import Tokens
from attnviz.written_numbers import decimals

__all__ = ["describe_features", "feature_tokens"]

FRAME_SECONDS = 0.01
"""Distance of a spectrogram's frames in every Whisper: 160 samples at 16,000 a second."""


def feature_tokens(
    config: PreTrainedConfig,
    name: str,
    values: Float[Tensor, "*channel row column"],
    positions: int,
) -> Tokens:
    """Return the positions into which a model has cut a picture or a sound.

    A patch is `patch 3,4` (row, column, from the top left; both from zero), a moment of a sound
    `0.02 s` (where it begins). Their ids count them: no two are copies of one another.

    Args:
        config: of the model.
        name: which input it was: "pixel_values" or "input_features".
        values: the input itself, without a batch axis.
        positions: how many the model has made of it.
    """
    if name == "pixel_values":
        labels, added = _patches(config, values.shape[-2:], positions)
    else:
        step = FRAME_SECONDS * values.shape[-1] / positions
        labels, added = tuple(f"{decimals(number * step)} s" for number in range(positions)), 0
    return Tokens(
        ids=np.arange(positions, dtype=np.int64),
        labels=labels,
        special=np.arange(positions) < added,
    )


def _patches(
    config: PreTrainedConfig, size: Sequence[int], positions: int
) -> tuple[tuple[str, ...], int]:
    """Return the labels in reading order, and how many of them are no patches.

    Where the numbers do not fit a grid, positions are only counted: a wrong place in the picture
    would be worse than none.
    """
    patch: Any = getattr(getattr(config, "vision_config", None) or config, "patch_size", None)
    height, width = patch if isinstance(patch, (list, tuple)) else (patch, patch)
    if isinstance(height, int) and isinstance(width, int):
        rows, columns = size[0] // height, size[1] // width
        leading = _before_patches(config)[: max(positions - rows * columns, 0)]
        if len(leading) + rows * columns == positions:
            grid = (f"patch {row},{column}" for row in range(rows) for column in range(columns))
            return (*leading, *grid), len(leading)
    return tuple(f"position {number}" for number in range(positions)), 0


def _before_patches(config: PreTrainedConfig) -> tuple[str, ...]:
    """Return the names of the tokens that a model may put before the first patch."""
    if config.model_type == "deit":
        return ("[CLS]", "[DIST]")
    registers = range(getattr(config, "num_register_tokens", None) or 0)
    return ("[CLS]", *(f"[register {number}]" for number in registers))


def describe_features(name: str, values: Float[Tensor, "*channel row column"]) -> str:
    """Return a description of the input, in place of a text."""
    if name == "pixel_values":
        return f"picture of {values.shape[-2]} × {values.shape[-1]} pixels"
    return f"sound of {decimals(FRAME_SECONDS * values.shape[-1])} s"
