"""Small JSON files of a model folder, read with limits of size, depth and numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from attnviz.characters import shortened
from attnviz.errors import ModelError
from attnviz.models.folders.damaged_files import in_its_place
from attnviz.written_numbers import size

__all__ = ["SETTINGS", "read_json", "read_object"]

SETTINGS = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "processor_config.json",
    "preprocessor_config.json",
)
"""Settings that the library reads from a model folder; each is a JSON object."""

MOST_BYTES = 64_000_000
"""Largest file that is read; the settings of real models have at most a few megabytes."""


def read_json(path: Path, *, infinite: bool = False) -> Any:
    """Return the content of a JSON file.

    Args:
        path: a regular file.
        infinite: accept the words NaN and Infinity, which the library writes into some settings.

    Raises:
        ModelError: the file is too large, is not JSON in UTF-8, is nested too deeply, or holds a
            number that a float cannot hold.
    """
    where = f"the {path.name} of '{path.parent.name}'"
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ModelError(
                f"{where} has {size(path.stat().st_size)}; expected at most {size(MOST_BYTES)}"
            )
        return json.loads(
            path.read_text(encoding="utf-8"),
            parse_float=_finite,
            parse_constant=float if infinite else _refuse,
        )
    except RecursionError as error:
        raise ModelError(
            f"{where} is nested too deeply to be read; save the model again"
        ) from error
    except (ValueError, OSError) as error:
        other = None if isinstance(error, OSError) else in_its_place(path)
        if other is not None:
            raise ModelError(f"{where} {other}") from error
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(
            f"{where} cannot be read as JSON: {shortened(reason, 160)}; save the model again"
        ) from error


def read_object(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file of settings.

    Raises:
        ModelError: as `read_json`, or the file holds something else than an object.
    """
    content = read_json(path, infinite=True)
    if not isinstance(content, dict):
        raise ModelError(
            f"the {path.name} of '{path.parent.name}' holds a {type(content).__name__}; expected "
            "an object as `save_pretrained` writes it"
        )
    return content


def _finite(written: str) -> float:
    number = float(written)
    if not math.isfinite(number):
        raise ValueError(f"{written} is too large for a number")
    return number


def _refuse(written: str) -> NoReturn:
    raise ValueError(f"{written} is not a number")
