"""The command line: `attnviz app` serves the app, `attnviz capture` prints a text's numbers."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from attnviz import __version__
from attnviz.errors import AttnvizError

__all__ = ["main"]

ROOT = Path(__file__).parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status is 0, or 2 for input that cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except AttnvizError as error:
        print(f"attnviz: {error}", file=sys.stderr)  # noqa: T201
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attnviz", description="See what attention really does inside a transformer."
    )
    parser.add_argument("--version", action="version", version=f"attnviz {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    app = commands.add_parser("app", help="serve the app in a browser")
    app.add_argument("--port", type=int, default=8501)
    app.add_argument(
        "--address",
        default="localhost",
        help="where to listen; 0.0.0.0 lets a class on the same network in",
    )
    app.add_argument("--headless", action="store_true", help="do not open a browser")
    app.set_defaults(run=_app)

    capture = commands.add_parser("capture", help="print every head's numbers on a text, as CSV")
    capture.add_argument("model", help="a shipped model, a hub name, or a folder")
    capture.add_argument("text", help="what to read; - for standard input")
    capture.add_argument("--pair", help="a second sentence (BERT)")
    capture.add_argument(
        "--target", help="what the decoder writes (T5); its own output if left out"
    )
    capture.add_argument("--cut", action="store_true", help="cut texts that are too long")
    capture.set_defaults(run=_capture)
    return parser


def _app(options: argparse.Namespace) -> int:
    script = ROOT / "app.py"
    if not script.is_file():
        raise AttnvizError(
            "the app's pages are not part of the installed package; run this from a checkout of "
            "attnviz, or `make app` there"
        )
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.web import bootstrap

    # A `pages` folder beside the script makes Streamlit answer a server's very first visitor with
    # its old page discovery, which tells them that the page of their link does not exist.
    PagesManager.uses_pages_directory = False
    _warm_up()
    settings: dict[str, object] = {
        # Streamlit reads the project's settings only when started in the project's folder, and
        # would otherwise watch files and send usage figures.
        **_flat(tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text("utf-8"))),
        "server.port": options.port,
        "server.address": options.address,
        **({"server.headless": True} if options.headless else {}),
    }
    bootstrap.load_config_options(settings)
    bootstrap.run(str(script), False, [], settings)
    return 0


def _flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested tables of settings as Streamlit's dotted names."""
    found: dict[str, object] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _warm_up() -> None:
    """Read torch and the library before the first visitor comes.

    Not beside them: two threads that import the same modules from different ends can see one of
    them half made, and a class opens its first page all at once.
    """
    import attnviz.proof
    import attnviz.summary
    import attnviz.views  # noqa: F401


def _capture(options: argparse.Namespace) -> int:
    import attnviz

    text = sys.stdin.read() if options.text == "-" else options.text
    model = attnviz.load(options.model)
    found = attnviz.capture(
        model,
        text,
        pair=options.pair,
        target=options.target,
        cut=options.cut,
        keep="statistics",
        predict=False,
    )
    if found.cut:
        print(f"attnviz: {found.cut} tokens were cut off", file=sys.stderr)  # noqa: T201
    with contextlib.suppress(BrokenPipeError):  # `| head` has read enough
        attnviz.summarize(found).to_csv(sys.stdout, index=False, float_format="%.6g")
        sys.stdout.flush()
    return 0
