"""Command line: the app, the numbers of a text, and the diagnosis of a model."""

from __future__ import annotations

from collections.abc import Sequence

from attnviz import __version__
from attnviz.cli.capture import run_capture
from attnviz.cli.diagnose import run_diagnose
from attnviz.cli.screen import Parser, say
from attnviz.cli.serve import run_app
from attnviz.errors import AttnvizError
from attnviz.findings import LABELS

__all__ = ["main", "parser"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Its exit status is 0; 1 when `diagnose --fail-on` finds what it looks for; 2 for input that
    cannot be used; 130 when it is interrupted.
    """
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except AttnvizError as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("stopped before it was done")
        return 130


def parser() -> Parser:
    """Return the parser with all commands and options."""
    root = Parser(
        prog="attnviz", description="See what attention really does inside a transformer."
    )
    root.add_argument("--version", action="version", version=f"attnviz {__version__}")
    commands = root.add_subparsers(required=True, metavar="COMMAND")

    app = commands.add_parser("app", help="serve the app in a browser")
    app.add_argument("--port", type=int, default=8501)
    app.add_argument(
        "--address",
        default="localhost",
        help="where to listen; 0.0.0.0 lets a class on the same network in",
    )
    app.add_argument("--headless", action="store_true", help="do not open a browser")
    app.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that share the visitors, behind nginx; as many as there are processors",
    )
    app.add_argument(
        "--class",
        dest="classroom",
        action="store_true",
        help="for a class: only the listed models, no hub, texts of up to 512 tokens, few "
        "diagnoses at a time; see docs/how-to/class.md",
    )
    app.add_argument(
        "--models",
        nargs="+",
        metavar="MODEL",
        help="the only models that visitors may load: shipped names, or folders",
    )
    app.set_defaults(run=run_app)

    capture = commands.add_parser("capture", help="print every head's numbers on a text, as CSV")
    capture.add_argument("model", help="a shipped model, a hub name, or a folder")
    capture.add_argument("text", help="what to read; - for standard input")
    capture.add_argument("--pair", help="a second sentence (BERT)")
    capture.add_argument(
        "--target", help="what the decoder writes (T5); the model writes it if left out"
    )
    capture.add_argument("--cut", action="store_true", help="cut texts that are too long")
    capture.set_defaults(run=run_capture)

    diagnose = commands.add_parser(
        "diagnose",
        help="say which heads are degenerate, with evidence",
        description="Measure every head on a set of texts, remove each to see what it costs, and "
        "say what it is: " + ", ".join(LABELS) + ".",
        epilog="Exit status: 0; 1 when --fail-on found a head, or the model computes NaN or "
        "infinity; 2 for input that cannot be used.",
    )
    diagnose.add_argument("model", help="a shipped model, a hub name, or a folder")
    diagnose.add_argument(
        "--texts",
        metavar="FILE",
        help="a file with a text on each line (a tab before what an encoder-decoder is to write), "
        "or a folder of .txt files; texts that come with attnviz if left out",
    )
    diagnose.add_argument("--out", metavar="FILE", help="write a report: one HTML file")
    diagnose.add_argument("--json", metavar="FILE", help="write everything, to be read by programs")
    diagnose.add_argument("--csv", metavar="FILE", help="write the table of heads")
    diagnose.add_argument(
        "--fail-on",
        metavar="LABELS",
        default="",
        help="exit with status 1 when a head is called one of these, such as uniform,sink:broken",
    )
    diagnose.add_argument(
        "--threshold",
        metavar="NAME=NUMBER",
        action="append",
        default=[],
        help="move a limit of the rules, such as uniform_entropy=0.9; may be given several times",
    )
    diagnose.add_argument(
        "--long",
        choices=("windows", "refuse"),
        default="windows",
        help="what becomes of texts that are too long for the model",
    )
    diagnose.add_argument(
        "--no-ablation", action="store_true", help="do not remove heads: faster, proves nothing"
    )
    diagnose.add_argument("--device", default="auto", help="where to compute: auto, cpu, cuda ...")
    diagnose.add_argument("--seed", type=int, default=0, help="of what is drawn at random")
    diagnose.set_defaults(run=run_diagnose)
    return root
