"""`attnviz app`: the app on a port of this machine."""

from __future__ import annotations

import argparse
import os
import tomllib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from attnviz.cli.workers import run_workers
from attnviz.errors import AttnvizError

__all__ = ["run_app"]

ENTRY = Path(__file__).parents[1] / "ui" / "entry"


def run_app(options: argparse.Namespace) -> int:
    """Serve until stopped, with the pages and settings of the package.

    Raises:
        AttnvizError: Streamlit or BertViz is not installed, or `run_workers` cannot start.
    """
    missing = [name for name in ("streamlit", "bertviz") if find_spec(name) is None]
    if missing:
        raise AttnvizError(
            f"the app needs {' and '.join(missing)}, which the package alone does not install: "
            "pip install '.[app]' in the folder of attnviz"
        )
    _allow(options)
    if options.workers > 1:
        return run_workers(options)
    from streamlit.web import bootstrap

    from attnviz.ui.server import browser_messages, start_page

    browser_messages.restrict()
    start_page.install()
    _warm_up(options)
    settings: dict[str, object] = {
        # As options: Streamlit would read a file of settings only in the current folder.
        **_flat(tomllib.loads((ENTRY / "settings.toml").read_text("utf-8"))),
        "server.port": options.port,
        "server.address": options.address,
        **({"server.headless": True} if options.headless else {}),
    }
    bootstrap.load_config_options(settings)
    bootstrap.run(str(ENTRY / "app_script.py"), False, [], settings)
    return 0


def _allow(options: argparse.Namespace) -> None:
    """Set the environment variables that limit what visitors may do; workers inherit them.

    A variable that is set already keeps its value.
    """
    allowed = {}
    if options.classroom:
        allowed = {
            "ATTNVIZ_MODELS": "shipped",
            "ATTNVIZ_MAX_TOKENS": "512",
            "ATTNVIZ_DIAGNOSES": "4",
            "HF_HUB_OFFLINE": "1",
        }
    if options.models:
        folders = [Path(name).resolve() for name in options.models if Path(name).is_dir()]
        allowed["ATTNVIZ_MODELS"] = ",".join(options.models)
        allowed["ATTNVIZ_MODEL_FOLDERS"] = os.pathsep.join(map(str, folders))
    for name, value in allowed.items():
        os.environ.setdefault(name, value)


def _flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return nested tables of settings under Streamlit's dotted names."""
    flat: dict[str, object] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _warm_up(options: argparse.Namespace) -> None:
    """Prepare the first page: beside the server for one person, before it serves for a class."""
    from attnviz.ui.server import warm_up

    for_a_class = any(name in os.environ for name in ("ATTNVIZ_MODELS", "ATTNVIZ_REPORTS"))
    if for_a_class:  # a process that answers is ready, and models that fail end the command here
        warm_up.prepare()
    else:
        warm_up.start(options.address, options.port)
