"""Whether the hub can be reached, found out in seconds.

A download is tried six times, with longer and longer pauses: forty seconds before a class without
internet is told that there is none, and all that time no other model is loaded.
"""

from __future__ import annotations

from huggingface_hub import HfApi, is_offline_mode, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError

__all__ = ["reach"]

PATIENCE = 10.0  # seconds


def reach(name: str, revision: str | None) -> None:
    """Ask the hub once for a model that is not on this machine yet.

    An answer of any kind will do: what it means, the download finds out.

    Raises:
        Exception: whatever the hub's library raises when nobody answers.
    """
    if is_offline_mode() or isinstance(
        try_to_load_from_cache(name, "config.json", revision=revision), str
    ):
        return
    try:
        HfApi().model_info(name, revision=revision, timeout=PATIENCE)
    except HfHubHTTPError:
        return
