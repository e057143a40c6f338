"""Downloads from the hub: how large one is before it starts, with progress and cancellation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, is_offline_mode, snapshot_download
from huggingface_hub.utils import tqdm

from attnviz.models.folders.model_names import local_folder, readable
from attnviz.models.folders.weight_files import SINGLE
from attnviz.models.loading.hub import reach
from attnviz.models.loading.load_errors import Explained

__all__ = ["Download", "download", "needed_download"]

PATTERNS = ["*.json", "*.txt", "*.model", "*.safetensors"]
"""Files of a model that attnviz reads."""


@dataclass(frozen=True)
class Download:
    """Files of a hub model that are not on this machine yet.

    Attributes:
        name: the model's name on the hub.
        commit: the revision that is downloaded.
        files: names of the files.
        bytes: the sum of their sizes.
    """

    name: str
    commit: str
    files: tuple[str, ...]
    bytes: int


def needed_download(
    name: str, *, allowed_folders: Sequence[str | Path] | None = None
) -> Download | None:
    """Return what a model needs from the hub; None for a folder, and when all of it is here.

    None as well without a network: `attnviz.load` then says whether the model is here.

    Raises:
        ModelNotFound: there is no such model on the hub.
        ModelNotAllowed: a gated model, or a folder outside the allowed ones.
        ModelOffline: the hub cannot be reached.
    """
    name = readable(name)
    if local_folder(name, allowed_folders) is not None or is_offline_mode():
        return None
    with Explained(name, None, local=False):
        reach(name, None)
        listed = snapshot_download(name, allow_patterns=PATTERNS, dry_run=True)
    root = [one for one in listed if "/" not in one.filename]  # folders hold other formats
    if any(one.filename == SINGLE for one in root):
        root = [
            one
            for one in root
            if one.filename == SINGLE or not one.filename.endswith(".safetensors")
        ]
    missing = [one for one in root if one.will_download]
    if not missing:
        return None
    return Download(
        name,
        missing[0].commit_hash,
        tuple(one.filename for one in missing),
        sum(one.file_size for one in missing),
    )


def download(needed: Download, progress: Callable[[int, int], None]) -> None:
    """Download the files to the hub's cache.

    Args:
        needed: from `needed_download`.
        progress: called with the bytes that have come, and of how many. An exception it raises
            ends the download and is passed on; the rest of a file is kept for the next time.

    Raises:
        ModelOffline: the hub cannot be reached any more.
    """
    came = 0
    stopped: list[BaseException] = []

    def report() -> None:
        try:
            progress(min(came, needed.bytes), needed.bytes)
        except BaseException as error:
            stopped.append(error)  # it is not an answer of the hub, to be explained
            raise

    class Counter(tqdm):  # type: ignore[misc] # the hub's library has no types here
        """Counts bytes instead of drawing a bar."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal came
            came += int(n or 0)
            report()
            shown: bool | None = super().update(n)
            return shown

    try:
        with Explained(needed.name, needed.commit, local=False):
            for file in needed.files:
                report()
                hf_hub_download(needed.name, file, revision=needed.commit, tqdm_class=Counter)
    except Exception:
        if stopped:
            raise stopped[0] from None
        raise
