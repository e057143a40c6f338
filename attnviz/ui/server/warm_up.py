"""Preparation of the first page: imports and shipped models, loaded before or beside the server."""

from __future__ import annotations

import gc
import inspect
import socket
import threading
import time
from importlib import import_module

__all__ = ["prepare", "start", "wait"]

_PREPARED = threading.Event()
_PREPARED.set()


def start(address: str, port: int) -> None:
    """Prepare in a thread, as soon as the server answers; `wait` returns when this has ended.

    The browser loads the app's JavaScript at the same time. Not before the server answers: two
    threads that import the same modules from different ends can see one of them half made.
    """
    _PREPARED.clear()
    threading.Thread(target=_beside, args=(address, port), daemon=True).start()


def _beside(address: str, port: int) -> None:
    try:
        _wait_for_server("127.0.0.1" if address == "0.0.0.0" else address, port)  # noqa: S104
        prepare()
    finally:
        _PREPARED.set()


def _wait_for_server(address: str, port: int) -> None:
    """Wait until the port accepts connections, up to ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address, port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)


def wait() -> None:
    """Wait for the end of a preparation that has been started."""
    _PREPARED.wait()


def prepare() -> None:
    """Import all pages, load the models that may be shown, and exempt all of it from collection.

    Streamlit collects garbage after every script run: over the million objects of torch and the
    library that took half of the server's time.

    Raises:
        AttnvizError: a model that ATTNVIZ_MODELS names cannot be loaded.
    """
    gc.disable()  # what is imported is kept anyway
    try:
        import_module("attnviz.ui.entry.navigation")
        from attnviz.models import quiet_library
        from attnviz.ui.server.load_report import publish
        from attnviz.ui.server.permissions import listed_models
        from attnviz.ui.session.model_cache import load_model

        quiet_library()
        for name in listed_models():
            load_model(name)
        inspect.stack()  # reads the paths of all modules once; Streamlit's first command needs them
        publish()
        gc.freeze()
    finally:
        gc.enable()
