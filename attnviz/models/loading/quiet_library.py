"""Progress bars and hints of the library, kept out of the log of a server."""

from __future__ import annotations

import os

from huggingface_hub.utils import enable_progress_bars
from transformers.utils import logging

__all__ = ["quiet_library"]


def quiet_library() -> None:
    """Switch off the library's bars for loading weights, and its messages below errors.

    What a user must know of a model attnviz says itself. The bars of downloads stay: the app
    counts bytes with them. `TRANSFORMERS_VERBOSITY` overrides the level of messages.
    """
    logging.disable_progress_bar()
    enable_progress_bars()  # of the hub; the line above switches off both
    if "TRANSFORMERS_VERBOSITY" not in os.environ:
        logging.set_verbosity_error()
