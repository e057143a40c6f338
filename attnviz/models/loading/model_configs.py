"""Configuration of a model, read without the settings that attnviz replaces anyway."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

from attnviz.errors import ModelNotSupported
from attnviz.models.loading.model_classes import library_class

__all__ = ["read_config"]

REPLACED = {
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "_attn_implementation_autoset",
    "experts_implementation",
    "_experts_implementation",
    "_experts_implementation_internal",
    "output_attentions",
    "_output_attentions",
    "output_hidden_states",
    "return_dict",
    "use_return_dict",
    "torchscript",
    "chunk_size_feed_forward",
}
"""Settings of a run, not of a model: none of them changes a number that is shown.

Left in a file by a training script, each can stop a load or a run: an attention that is not
installed, a tuple in place of named outputs, a chunk size that divides no text's length.
"""


def read_config(place: str, name: str, **options: Any) -> PreTrainedConfig:
    """Return the configuration in a folder or on the hub.

    Args:
        place: the folder, or the hub name.
        name: the model's name in messages.
        options: `revision`, `local_files_only`.

    Raises:
        ModelNotSupported: the library does not know this type of model.
    """
    settings, _ = PreTrainedConfig.get_config_dict(place, **options)
    settings = _cleaned(settings)
    commit = settings.pop("_commit_hash", None)
    _check_type(settings, name)
    # The library chooses the class of a configuration, so it reads the cleaned one from a file.
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "config.json").open("w", encoding="utf-8") as file:
            json.dump(settings, file)
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True)
    config.name_or_path = place
    config._commit_hash = commit
    return config


def _cleaned(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration, and those nested in it, without the replaced settings."""
    kept = {
        key: _cleaned(value) if isinstance(value, dict) else value
        for key, value in settings.items()
        if key not in REPLACED
    }
    for key in ("dtype", "torch_dtype"):
        # Training scripts write "fp16"; attnviz computes in a type of the library's own names.
        value = kept.get(key)
        if isinstance(value, str) and not isinstance(
            getattr(torch, value.removeprefix("torch."), None), torch.dtype
        ):
            del kept[key]
    pad, words = kept.get("pad_token_id"), kept.get("vocab_size")
    if isinstance(pad, int) and isinstance(words, int) and pad >= words:
        kept["pad_token_id"] = None  # added to the tokenizer, never to the embedding
    return kept


def _check_type(settings: dict[str, Any], name: str) -> None:
    """Refuse a configuration of no type or of one that the installed library does not have.

    A type that is missing is taken from the class in `architectures`.
    """
    kind = settings.get("model_type")
    if kind is None:
        for architecture in settings.get("architectures") or ():
            known = library_class(architecture)
            if known is not None:
                settings["model_type"] = known.config_class.model_type
                return
        raise ModelNotSupported(
            f"the config.json of '{name}' names no model_type, and no class of the library in "
            "architectures; copy the config.json that belongs to these weights"
        )
    if kind in CONFIG_MAPPING:
        return
    if "auto_map" in settings:
        raise ModelNotSupported(
            f"'{name}' comes with code, which attnviz does not run; choose a model of an "
            "architecture the library knows"
        )
    written = settings.get("transformers_version")
    raise ModelNotSupported(
        f"'{name}' is a model of type '{str(kind)[:40]}', which the installed transformers "
        f"{transformers.__version__} does not know"
        + (f" (its config.json was written by {str(written)[:20]})" if written else "")
        + "; a newer transformers may know it"
    )
