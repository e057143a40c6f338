"""Models of the hub: whether it can be reached, and their files.

One request with a limit of seconds goes to the hub before a download: a download is tried six
times, and a class without internet would wait forty seconds for an answer.
"""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, is_offline_mode, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
)
from transformers import PreTrainedConfig

from attnviz.models.folders.weight_files import (
    INDEX,
    SINGLE,
    check_entries,
    check_inside,
    index_entries,
)
from attnviz.models.loading.build_lock import check_wanted
from attnviz.models.loading.load_errors import without_safetensors
from attnviz.models.tokenizers.tokenizer_settings import FILES

__all__ = ["fetched", "reach"]

PATIENCE = 10.0  # seconds


def reach(name: str, revision: str | None) -> None:
    """Ask the hub once for a model that is not on this machine yet.

    An answer of any kind will do: what it means, the download finds out.

    Raises:
        Exception: whatever the hub's library raises without an answer.
    """
    if is_offline_mode() or isinstance(
        try_to_load_from_cache(name, "config.json", revision=revision), str
    ):
        return
    try:
        HfApi().model_info(name, revision=revision, timeout=PATIENCE)
    except HfHubHTTPError:
        return


def fetched(name: str, revision: str | None, config: PreTrainedConfig) -> Path | None:
    """Download a model's weights and tokenizer, outside the lock for building models.

    Returns:
        The folder of the hub's cache that holds them, checked by `check_entries`; None if they are
        not on this machine and the hub cannot be reached.

    Raises:
        ModelUnsafe: the hub has no safetensors weights for this revision.
        ModelError: the files name others that may not be opened.
        Exception: whatever the hub's library raises.
    """
    named = getattr(config, "transformers_weights", None)
    weights, reached = None, True
    for file in (SINGLE, INDEX) if named is None else (str(named),):
        try:
            weights = weights or _file(name, file, revision)
        except LocalEntryNotFoundError:
            reached = False
    if weights is None and reached:
        raise without_safetensors(name)
    if weights is None:
        return None
    if weights.name.endswith(".json"):
        for entry in index_entries(weights, name):
            check_inside(weights.parent, weights.parent / entry, name)
            _file(name, entry, revision)
    for file in FILES:
        _file(name, file, revision)
    check_entries(weights.parent.resolve(), name)
    return weights.parent.resolve()


def _file(name: str, file: str, revision: str | None) -> Path | None:
    """Return the path of a file in the hub's cache; None if the hub does not have it."""
    check_wanted()
    try:
        return Path(hf_hub_download(name, file, revision=revision))
    except LocalEntryNotFoundError:
        if file in FILES:
            return None  # a model need not have all of these
        raise
    except EntryNotFoundError:
        return None
