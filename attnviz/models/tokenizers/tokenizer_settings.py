"""Settings of a tokenizer: the files they name, and the longest text they allow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attnviz.characters import shortened
from attnviz.errors import ModelError, ModelUnsafe
from attnviz.models.folders.json_files import read_object

__all__ = ["FILES", "check_tokenizer_settings", "without_named_files"]

FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
"""Files of a tokenizer that are checked before the library reads them."""

CONFIGURATION = "tokenizer_config.json"
SPECIAL = "special_tokens_map.json"
OPENED = ("gguf_file", "init_inputs", "merges", "vocab")
"""Settings that some tokenizers open as a path, wherever it leads. No saved tokenizer has them as
text; old ones have keys such as `tokenizer_file`, with a path of the machine they were made on."""


def check_tokenizer_settings(file: str, settings: Mapping[str, object], name: str) -> None:
    """Refuse settings that make the library open a file of their choice, and a limit of no number.

    Args:
        file: which file of the folder the settings are from.
        settings: its content.
        name: what messages call the model.

    Raises:
        ModelUnsafe: a setting names a file.
        ModelError: `model_max_length` is not a number.
    """
    if file not in (CONFIGURATION, SPECIAL):
        return
    opened = [key for key in OPENED if settings.get(key) and not _is_vocabulary(settings[key])]
    versions = settings.get("fast_tokenizer_files") or []
    if not isinstance(versions, list) or any(set("/\\") & set(str(one)) for one in versions):
        opened.append("fast_tokenizer_files")
    if file == SPECIAL:
        opened += [key for key in settings if key.endswith("_file")]
    if opened:
        raise ModelUnsafe(
            f"the {file} of '{name}' names a file to be opened ('{opened[0]}'); attnviz reads the "
            "tokenizer's usual files only. Remove the entry"
        )
    limit = settings.get("model_max_length", 0)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, float))):
        raise ModelError(
            f"the {file} of '{name}' has {shortened(limit)} as its model_max_length; expected a "
            "number of tokens. Correct or remove the entry"
        )


def _is_vocabulary(value: object) -> bool:
    """Return whether a setting holds a vocabulary itself, and not a path."""
    return isinstance(value, dict) or (
        isinstance(value, list) and all(isinstance(one, list) for one in value)
    )


def without_named_files(folder: Path) -> dict[str, Any]:
    """Return arguments for a tokenizer that replace paths in its settings.

    With None for such an argument, the library takes the file of that kind from the folder.
    """
    path = folder / CONFIGURATION
    settings = read_object(path) if path.exists() else {}
    return {key: None for key in settings if key.endswith("_file") and key not in OPENED}
